/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Fault injection, one allocation at a time: arm, make the call, ask whether an
 * allocation has failed.  If none has, all allocations have been tried.
 */
#ifndef _MSHARE_FAILNTH_H
#define _MSHARE_FAILNTH_H

#include "mshare_helpers.h"

#if __GLIBC_PREREQ(2, 35)
#include <sys/rseq.h>
#endif

/*
 * No call of the tests makes so many allocations; more means an endless loop.
 */
#define FAILNTH_MAX 2000

/*
 * When a thread returns from a call in which it was preempted, the kernel
 * writes to its rseq area.  After fork() that page must be copied first. If
 * this allocation fails, the kernel kills the thread with SIGSEGV. So the
 * thread unregisters the area.  32 bytes is the size that glibc registers.
 */
static inline void failnth_no_rseq(void)
{
#ifdef RSEQ_SIG
	if (__rseq_size)
		syscall(SYS_rseq, (char *)__builtin_thread_pointer() + __rseq_offset,
			32, RSEQ_FLAG_UNREGISTER, RSEQ_SIG);
#endif
}

/* The file that arms it, or a negative errno if the kernel has none. */
static inline int failnth_open(void)
{
	static const char * const dir[] = {
		"/sys/kernel/debug/failslab/",
		"/sys/kernel/debug/fail_page_alloc/",
	};
	char path[128];
	unsigned int i;
	int fd;

	fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	failnth_no_rseq();
	for (i = 0; i < ARRAY_SIZE(dir); i++) {
		if (access(dir[i], F_OK)) {
			close(fd);
			return -ENOENT;
		}
		/* By default only allocations that may not sleep fail. */
		snprintf(path, sizeof(path), "%signore-gfp-wait", dir[i]);
		spew(path, "N");
		snprintf(path, sizeof(path), "%signore-gfp-highmem", dir[i]);
		spew(path, "N");
		snprintf(path, sizeof(path), "%smin-order", dir[i]);
		spew(path, "0");
		snprintf(path, sizeof(path), "%sverbose", dir[i]);
		spew(path, "0");
	}
	return fd;
}

static inline void failnth_arm(int fd, int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%d", n);

	if (pwrite(fd, text, len, 0) != len)
		ksft_print_msg("fail-nth: %s\n", strerror(errno));
}

/* Disarm. Return: true if an allocation has failed since failnth_arm(). */
static inline bool failnth_hit(int fd)
{
	char text[16] = "";

	if (pread(fd, text, sizeof(text) - 1, 0) < 0)
		return false;
	failnth_arm(fd, 0);
	return atoi(text) == 0;
}

#endif /* _MSHARE_FAILNTH_H */
