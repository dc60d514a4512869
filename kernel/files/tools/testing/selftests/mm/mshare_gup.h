/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Ways to make the kernel pin user pages: the gup_test device, a loop device
 * read with O_DIRECT, and registered buffers of io_uring.  All use raw system
 * calls, so that a static binary needs no library.
 */
#ifndef _MSHARE_GUP_H
#define _MSHARE_GUP_H

#include <linux/io_uring.h>
#include <linux/loop.h>
#include <sys/ioctl.h>

#include "mshare_helpers.h"

/* --------------------------------------------------------------- gup_test */

#define GUP_TEST_FILE "/sys/kernel/debug/gup_test"

/* As in the kernel's mm/gup_test.h, which is not installed everywhere. */
struct gup_test {
	__u64 get_delta_usec;
	__u64 put_delta_usec;
	__u64 addr;
	__u64 size;
	__u32 nr_pages_per_call;
	__u32 gup_flags;
	__u32 test_flags;
	__u32 which_pages[8];
};

struct pin_longterm_test {
	__u64 addr;
	__u64 size;
	__u32 flags;
};

#define GUP_FAST_BENCHMARK	_IOWR('g', 1, struct gup_test)
#define PIN_FAST_BENCHMARK	_IOWR('g', 2, struct gup_test)
#define PIN_LONGTERM_BENCHMARK	_IOWR('g', 3, struct gup_test)
#define GUP_BASIC_TEST		_IOWR('g', 4, struct gup_test)
#define PIN_BASIC_TEST		_IOWR('g', 5, struct gup_test)
#define PIN_LONGTERM_TEST_START	_IOW('g', 7, struct pin_longterm_test)
#define PIN_LONGTERM_TEST_STOP	_IO('g', 8)
#define PIN_LONGTERM_TEST_READ	_IOW('g', 9, __u64)

#define PIN_LONGTERM_TEST_FLAG_USE_WRITE	1
#define PIN_LONGTERM_TEST_FLAG_USE_FAST		2

#define FOLL_WRITE	1

/* Pin and release pages, one at a time. Return: how many could be pinned. */
static inline long gup_test(long cmd, long addr, long pages, long flags)
{
	struct gup_test gup = {
		.addr = addr,
		.size = pages * PAGE,
		.nr_pages_per_call = 1,
		.gup_flags = flags,
	};
	int fd = open(GUP_TEST_FILE, O_RDWR | O_CLOEXEC);
	long ret;

	if (fd < 0)
		return -errno;
	ret = neg(ioctl(fd, cmd, &gup));
	close(fd);
	return ret ? ret : (long)(gup.size / PAGE);
}

PEER_FN(pf_gup_test)
{
	PEER_UNUSED();
	return gup_test(a, b, c, d);
}

/* ------------------------------------------------------------ loop device */

struct loop_dev {
	int fd;
	char path[32];
};

/* A block device of zeroes in memory; 0, or why there is none. */
static inline int loop_open(struct loop_dev *dev, size_t size)
{
	int ctl, nr, backing;

	memset(dev, 0, sizeof(*dev));
	ctl = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	if (ctl < 0)
		return -errno;
	nr = ioctl(ctl, LOOP_CTL_GET_FREE);
	close(ctl);
	if (nr < 0)
		return -errno;
	snprintf(dev->path, sizeof(dev->path), "/dev/loop%d", nr);
	dev->fd = open(dev->path, O_RDWR | O_CLOEXEC);
	if (dev->fd < 0)
		return -errno;
	backing = temp_file(size);
	if (backing < 0 || ioctl(dev->fd, LOOP_SET_FD, backing)) {
		nr = backing < 0 ? backing : -errno;
		close(dev->fd);
		return nr;
	}
	close(backing);
	return 0;
}

static inline void loop_close(struct loop_dev *dev)
{
	ioctl(dev->fd, LOOP_CLR_FD, 0);
	close(dev->fd);
}

PEER_FN(pf_pread_direct)
{
	int fd = open((const char *)a, O_RDONLY | O_DIRECT | O_CLOEXEC);
	long ret;

	PEER_UNUSED();
	if (fd < 0)
		return -errno;
	ret = neg(pread(fd, (void *)b, c, d));
	close(fd);
	return ret;
}

PEER_FN(pf_pwrite_direct)
{
	int fd = open((const char *)a, O_WRONLY | O_DIRECT | O_CLOEXEC);
	long ret;

	PEER_UNUSED();
	if (fd < 0)
		return -errno;
	ret = neg(pwrite(fd, (void *)b, c, d));
	close(fd);
	return ret;
}

/* --------------------------------------------------------------- io_uring */

#define URING_ENTRIES 4

struct uring {
	int fd;
	struct io_uring_params params;
	char *sq;
	char *cq;
	struct io_uring_sqe *sqes;
};

static inline int uring_open(struct uring *r)
{
	size_t sq_size, cq_size;

	memset(r, 0, sizeof(*r));
	r->fd = syscall(__NR_io_uring_setup, URING_ENTRIES, &r->params);
	if (r->fd < 0)
		return -errno;
	sq_size = r->params.sq_off.array + r->params.sq_entries * sizeof(__u32);
	cq_size = r->params.cq_off.cqes +
		  r->params.cq_entries * sizeof(struct io_uring_cqe);
	r->sq = mmap(NULL, sq_size, RW, MAP_SHARED, r->fd, IORING_OFF_SQ_RING);
	r->cq = mmap(NULL, cq_size, RW, MAP_SHARED, r->fd, IORING_OFF_CQ_RING);
	r->sqes = mmap(NULL, r->params.sq_entries * sizeof(*r->sqes), RW,
		       MAP_SHARED, r->fd, IORING_OFF_SQES);
	if (r->sq == MAP_FAILED || r->cq == MAP_FAILED ||
	    (void *)r->sqes == MAP_FAILED)
		return -errno;
	return 0;
}

static inline void uring_close(struct uring *r)
{
	close(r->fd);
}

/* One request and its result. */
static inline long uring_do(struct uring *r, const struct io_uring_sqe *sqe)
{
	__u32 *sq_tail = (__u32 *)(r->sq + r->params.sq_off.tail);
	__u32 *sq_array = (__u32 *)(r->sq + r->params.sq_off.array);
	__u32 *cq_head = (__u32 *)(r->cq + r->params.cq_off.head);
	struct io_uring_cqe *cqes = (void *)(r->cq + r->params.cq_off.cqes);
	__u32 slot = *sq_tail % r->params.sq_entries;
	long ret;

	r->sqes[slot] = *sqe;
	sq_array[slot] = slot;
	__atomic_store_n(sq_tail, *sq_tail + 1, __ATOMIC_RELEASE);
	ret = neg(syscall(__NR_io_uring_enter, r->fd, 1, 1,
			  IORING_ENTER_GETEVENTS, NULL, 0));
	if (ret != 1)
		return ret < 0 ? ret : -EIO;
	ret = cqes[*cq_head % r->params.cq_entries].res;
	__atomic_store_n(cq_head, *cq_head + 1, __ATOMIC_RELEASE);
	return ret;
}

static inline int uring_register(struct uring *r, void *addr, size_t len)
{
	struct iovec iov = { addr, len };

	return neg(syscall(__NR_io_uring_register, r->fd,
			   IORING_REGISTER_BUFFERS, &iov, 1));
}

static inline int uring_unregister(struct uring *r)
{
	return neg(syscall(__NR_io_uring_register, r->fd,
			   IORING_UNREGISTER_BUFFERS, NULL, 0));
}

/* 0 if the kernel has io_uring and lets us use it. */
static inline int uring_probe(void)
{
	struct uring r;
	int ret = uring_open(&r);

	if (!ret)
		uring_close(&r);
	return ret;
}

PEER_FN(pf_uring_register)
{
	struct uring r;
	long ret;

	PEER_UNUSED();
	ret = uring_open(&r);
	if (ret)
		return ret;
	ret = uring_register(&r, (void *)a, b);
	uring_close(&r);
	return ret;
}

/* Read zeroes to a buffer that is not registered. */
PEER_FN(pf_uring_read)
{
	struct io_uring_sqe sqe = { .opcode = IORING_OP_READ };
	struct uring r;
	long ret;

	PEER_UNUSED();
	ret = uring_open(&r);
	if (ret)
		return ret;
	sqe.fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	sqe.addr = a;
	sqe.len = b;
	ret = uring_do(&r, &sqe);
	close(sqe.fd);
	uring_close(&r);
	return ret;
}

#endif /* _MSHARE_GUP_H */
