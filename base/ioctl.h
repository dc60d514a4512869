/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/ioctl.h>

/* Of <linux/mshare.h>, which C libraries' headers do not have: see msharefs(5). */
#ifndef MSHARE_IOC_MAPS
#define MSHARE_IOC_MAPS _IO(0xBA, 0x00)
#endif
