# The one list of warnings, the sanitizer switch, and the choice of the HTTP/1.1 parser.

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

AC_DEFUN([SLUICE_HTTP_PARSER], [
	PKG_CHECK_MODULES([LLHTTP], [libllhttp], [sluice_http_parser=llhttp], [
		AC_CHECK_HEADER([http_parser.h], [], [AC_MSG_ERROR([neither libllhttp nor libhttp-parser was found])])
		sluice_http_parser=http_parser
		AC_SUBST([LLHTTP_CFLAGS], [])
		AC_SUBST([LLHTTP_LIBS], [-lhttp_parser])
	])
	AM_CONDITIONAL([HAVE_LLHTTP], [test $sluice_http_parser = llhttp])
])
