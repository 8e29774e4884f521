# The one list of warnings, the sanitizer switch, what must be in libnghttp2, and the choice of the HTTP/1.1 parser.

AC_DEFUN([SLUICE_TRY_FLAG], [
	AC_MSG_CHECKING([whether $CC knows $1])
	sluice_saved=$CFLAGS
	CFLAGS="$CFLAGS -Werror $1"
	AC_COMPILE_IFELSE([AC_LANG_PROGRAM([], [])],
		[AC_MSG_RESULT([yes]); SLUICE_CFLAGS="$SLUICE_CFLAGS $1"], [AC_MSG_RESULT([no])])
	CFLAGS=$sluice_saved
])

AC_DEFUN([SLUICE_WARNINGS], [
	SLUICE_CFLAGS="-std=gnu11"
	m4_foreach_w([flag], [-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith
		-Wcast-align -Wwrite-strings -Wvla -Wformat=2 -Wimplicit-fallthrough -Wundef -Wno-format-nonliteral
		-fstack-protector-strong -fno-common], [SLUICE_TRY_FLAG(flag)])
	AC_ARG_ENABLE([werror], [AS_HELP_STRING([--disable-werror], [do not treat warnings as errors])],
		[sluice_werror=$enableval], [sluice_werror=yes])
	AS_IF([test "x$sluice_werror" = xyes], [SLUICE_CFLAGS="$SLUICE_CFLAGS -Werror"])
	AC_SUBST([SLUICE_CFLAGS])
])

AC_DEFUN([SLUICE_SANITIZERS], [
	AC_ARG_ENABLE([sanitizers], [AS_HELP_STRING([--enable-sanitizers@<:@=LIST@:>@],
		[build with these sanitizers (default list: address,undefined)])],
		[], [enable_sanitizers=no])
	AS_CASE([$enable_sanitizers], [no], [sluice_sanitizers=], [yes], [sluice_sanitizers=address,undefined],
		[sluice_sanitizers=$enable_sanitizers])
	AS_IF([test -n "$sluice_sanitizers"], [
		SLUICE_SANITIZE="-fsanitize=$sluice_sanitizers -fno-omit-frame-pointer -fno-sanitize-recover=all"
	], [SLUICE_SANITIZE=])
	AC_SUBST([SLUICE_SANITIZE])
	AM_CONDITIONAL([SANITIZERS], [test -n "$sluice_sanitizers"])
	AS_CASE([$sluice_sanitizers], [*fuzzer*], [sluice_fuzzers=yes], [sluice_fuzzers=no])
	AM_CONDITIONAL([FUZZERS], [test $sluice_fuzzers = yes])
])

# Not a matter of the version: distributions have added these with their security fixes.
AC_DEFUN([SLUICE_NGHTTP2], [
	sluice_saved=$LIBS
	LIBS="$NGHTTP2_LIBS $LIBS"
	m4_foreach_w([func], [nghttp2_option_set_stream_reset_rate_limit nghttp2_option_set_max_continuations], [
		AC_CHECK_FUNC(func, [], [AC_MSG_ERROR([libnghttp2 has no func():
  it lacks the fixes of CVE-2023-44487 or CVE-2024-28182. Install version 1.61 or later, or on Debian 12 the security update
  (libnghttp2-dev 1.52.0-1+deb12u2 or later).])])
	])
	LIBS=$sluice_saved
])

AC_DEFUN([SLUICE_HTTP_PARSER], [
	PKG_CHECK_MODULES([LLHTTP], [libllhttp], [sluice_http_parser=llhttp], [
		AC_CHECK_HEADER([http_parser.h], [], [AC_MSG_ERROR([neither libllhttp nor libhttp-parser was found])])
		sluice_http_parser=http_parser
		AC_SUBST([LLHTTP_CFLAGS], [])
		AC_SUBST([LLHTTP_LIBS], [-lhttp_parser])
	])
	AM_CONDITIONAL([HAVE_LLHTTP], [test $sluice_http_parser = llhttp])
])
