/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
#ifndef _UAPI_LINUX_MSHARE_H
#define _UAPI_LINUX_MSHARE_H

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

#endif /* _UAPI_LINUX_MSHARE_H */
