/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
#ifndef _UAPI_LINUX_MSHARE_H
#define _UAPI_LINUX_MSHARE_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* statfs(2) of msharefs: "mshr" */
#define MSHAREFS_MAGIC	0x6d736872

/*
 * What read(2) on a file of msharefs returns: the range of addresses in which
 * the region appears in each of its sharers, in bytes.
 */
struct mshare_info {
	__u64 start;
	__u64 size;
};

/*
 * ioctl(2) of a file of msharefs that is open for reading, without an argument:
 * a new descriptor, from which read(2) gets what the region maps, in the form
 * of /proc/PID/maps.
 */
#define MSHARE_IOC_MAPS	_IO(0xBA, 0x00)

#endif /* _UAPI_LINUX_MSHARE_H */
