/*
 * build.h - which build this program is of; peers of another build refuse each other (hello messages). Every process.
 */
#ifndef SL_BUILD_H
#define SL_BUILD_H

#define SL_BUILD PACKAGE_VERSION

#endif
