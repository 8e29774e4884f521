/*
 * main.c - sluicectl. Everything is in the library beside it.
 */
#include "sluicectl/ctl.h"

int main(int argc, char **argv)
{
	return ctl_main(argc, argv);
}
