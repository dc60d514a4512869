// SPDX-License-Identifier: GPL-2.0-only
/* mshare: the kernel pins pages of a window like any other pages. */
#include "mshare_helpers.h"

#include <sys/ptrace.h>

#include "mshare_gup.h"

/* Page n of a pattern that no other page has. */
static long mark(int n)
{
	return 0x4d534841000000L + n;
}

static void fill(char *base, int pages)
{
	long *p;
	int i;

	for (i = 0; i < pages; i++)
		for (p = (long *)(base + i * PAGE);
		     p < (long *)(base + (i + 1) * PAGE); p++)
			*p = mark(i);
}

/* The number of pages that differ from what fill() wrote, seen by the peer. */
static int peer_bad(struct peer *p, char *base, int pages)
{
	int i, bad = 0;

	for (i = 0; i < pages; i++) {
		bad += peer_see(p, base + i * PAGE) != mark(i);
		bad += peer_see(p, base + (i + 1) * PAGE - 8) != mark(i);
	}
	return bad;
}

TEST_F(mshare, gup_test_all_kinds)
{
	static const int cmd[] = {
		GUP_FAST_BENCHMARK, PIN_FAST_BENCHMARK, PIN_LONGTERM_BENCHMARK,
		GUP_BASIC_TEST, PIN_BASIC_TEST,
	};
	struct peer p;
	unsigned int i;
	long a, got;

	if (access(GUP_TEST_FILE, R_OK | W_OK))
		SKIP(return, "no " GUP_TEST_FILE);
	MAKE_SHARED();
	for (i = 0; i < ARRAY_SIZE(cmd); i++) {
		/* Made resident by the other sharer, absent, a hole. */
		a = (long)self->addr + i * 8 * MEG;
		ASSERT_EQ(0, map_anon((void *)a, MEG, RW));
		ASSERT_EQ(0, peer_store(&p, (void *)a, 1));
		got = gup_test(cmd[i], a, 4, FOLL_WRITE);
		EXPECT_EQ(4, got)
			TH_LOG("command %u, to write", i);
		/* Not for anonymous memory: the zero page is never pinned. */
		ASSERT_EQ(0, map_shmem((void *)a + 4 * MEG, MEG, RW));
		got = gup_test(cmd[i], a + 4 * MEG, 4, 0);
		EXPECT_EQ(4, got)
			TH_LOG("command %u, to read", i);
		got = gup_test(cmd[i], a + MEG - 2 * PAGE, 4, FOLL_WRITE);
		EXPECT_EQ(2, got)
			TH_LOG("command %u, into a hole", i);
		got = gup_test(cmd[i], a + 2 * MEG, 4, FOLL_WRITE);
		EXPECT_EQ(0, got)
			TH_LOG("command %u, a hole", i);
		EXPECT_EQ(1, peer_see(&p, (void *)a));
		/* The mapping's own protection counts as well. */
		ASSERT_EQ(0, do_mprotect((void *)a, MEG, PROT_READ));
		got = gup_test(cmd[i], a, 4, FOLL_WRITE);
		EXPECT_EQ(0, got)
			TH_LOG("command %u, read-only mapping", i);
	}
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

TEST_F(mshare, o_direct_rw)
{
	const int pages = 32;
	struct loop_dev dev;
	struct peer p;
	long ret;

	ret = loop_open(&dev, 4 * MEG);
	if (ret)
		SKIP(return, "no loop device: %s", strerror(-ret));
	MAKE_SHARED();
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
	ASSERT_EQ(0, map_shmem(self->addr + 8 * MEG, MEG, RW));
	fill(self->addr, pages);
	EXPECT_EQ((long)(pages * PAGE),
		  peer_call(&p, pf_pwrite_direct, (long)dev.path,
			    (long)self->addr, pages * PAGE, 0));
	/*
	 * Into shared memory that is not present yet, and over present pages.
	 */
	EXPECT_EQ((long)(pages * PAGE),
		  pf_pread_direct((long)dev.path, (long)self->addr + 8 * MEG,
				  pages * PAGE, 0, 0, 0));
	EXPECT_EQ(0, peer_bad(&p, self->addr + 8 * MEG, pages));
	ASSERT_EQ(0, do_madvise(self->addr, MEG, MADV_DONTNEED));
	EXPECT_EQ((long)(pages * PAGE),
		  peer_call(&p, pf_pread_direct, (long)dev.path,
			    (long)self->addr, pages * PAGE, 0));
	EXPECT_EQ(0, peer_bad(&p, self->addr, pages));
	EXPECT_EQ(mark(3), load(self->addr + 3 * PAGE));
	/* From the end of a mapping into a hole: short or refused. */
	ret = pf_pread_direct((long)dev.path, (long)self->addr + MEG - PAGE,
			      2 * PAGE, 0, 0, 0);
	EXPECT_TRUE(ret == -EFAULT || ret == (long)PAGE);
	EXPECT_EQ(-EFAULT, pf_pread_direct((long)dev.path,
					   (long)self->addr + 2 * MEG, PAGE,
					   0, 0, 0));
	loop_close(&dev);
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

/* A file that is mapped in the window, read with O_DIRECT into the window. */
TEST_F(mshare, o_direct_from_mapped_device)
{
	const int pages = 16;
	struct loop_dev dev;
	struct peer p;
	long ret;
	int fd;

	ret = loop_open(&dev, MEG);
	if (ret)
		SKIP(return, "no loop device: %s", strerror(-ret));
	fd = temp_file(pages * PAGE);
	ASSERT_LE(0, fd);
	MAKE_SHARED();
	ASSERT_EQ(0, map_fd(self->addr, pages * PAGE, RW, MAP_SHARED, fd, 0));
	ASSERT_EQ(0, map_anon(self->addr + MEG, pages * PAGE, RW));
	fill(self->addr, pages);
	/* read() of the file into the window that maps it. */
	EXPECT_EQ((long)(pages * PAGE),
		  pread(fd, self->addr + MEG, pages * PAGE, 0));
	EXPECT_EQ(0, peer_bad(&p, self->addr + MEG, pages));
	EXPECT_EQ((long)(pages * PAGE),
		  pf_pwrite_direct((long)dev.path, (long)self->addr,
				   pages * PAGE, 0, 0, 0));
	memset(self->addr, 0, pages * PAGE);
	EXPECT_EQ((long)(pages * PAGE),
		  peer_call(&p, pf_pread_direct, (long)dev.path,
			    (long)self->addr, pages * PAGE, 0));
	EXPECT_EQ(0, peer_bad(&p, self->addr, pages));
	loop_close(&dev);
	close(fd);
	EXPECT_EQ(0, peer_stop(&p));
}

TEST_F(mshare, io_uring_fixed_buffers)
{
	struct io_uring_sqe sqe;
	const int pages = 8;
	struct uring r;
	struct peer p;
	long ret;
	int fd;

	ret = uring_probe();
	if (ret)
		SKIP(return, "no io_uring: %s", strerror(-ret));
	fd = temp_file(pages * PAGE);
	ASSERT_LE(0, fd);
	MAKE_SHARED();
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
	ASSERT_EQ(0, uring_open(&r));
	ASSERT_EQ(0, uring_register(&r, self->addr, MEG));
	fill(self->addr, pages);

	memset(&sqe, 0, sizeof(sqe));
	sqe.opcode = IORING_OP_WRITE_FIXED;
	sqe.fd = fd;
	sqe.addr = (long)self->addr;
	sqe.len = pages * PAGE;
	EXPECT_EQ((long)(pages * PAGE), uring_do(&r, &sqe));
	/* Back, to another place in the same buffer. */
	sqe.opcode = IORING_OP_READ_FIXED;
	sqe.addr = (long)self->addr + MEG / 2;
	EXPECT_EQ((long)(pages * PAGE), uring_do(&r, &sqe));
	EXPECT_EQ(0, peer_bad(&p, self->addr + MEG / 2, pages));
	/* And with a buffer that is looked up for each request. */
	sqe.opcode = IORING_OP_READ;
	sqe.addr = (long)self->addr + MEG / 4;
	EXPECT_EQ((long)(pages * PAGE), uring_do(&r, &sqe));
	EXPECT_EQ(0, peer_bad(&p, self->addr + MEG / 4, pages));
	EXPECT_EQ(-EFAULT, pf_uring_register((long)self->addr + 2 * MEG, PAGE,
					     0, 0, 0, 0));

	/* The pinned pages outlive the mapping, and the window. */
	ASSERT_EQ(0, do_munmap(self->addr, self->len));
	sqe.opcode = IORING_OP_READ_FIXED;
	sqe.addr = (long)self->addr;
	EXPECT_EQ((long)(pages * PAGE), uring_do(&r, &sqe));
	EXPECT_EQ(0, peer_bad(&p, self->addr, pages));
	uring_close(&r);
	close(fd);
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

TEST_F(mshare, vmsplice_splice)
{
	struct iovec iov = { self->addr, 4 * PAGE };
	int pfd[2], other[2], i, fd;
	struct peer p;
	char *page;

	page = malloc(4 * PAGE);
	ASSERT_NE(NULL, page);
	fd = temp_file(4 * PAGE);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, pipe(pfd));
	ASSERT_EQ(0, pipe(other));
	MAKE_SHARED();
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
	fill(self->addr, 4);

	/*
	 * The pipe holds the pages, not copies: later stores are visible in it.
	 */
	ASSERT_EQ((long)(4 * PAGE), vmsplice(pfd[1], &iov, 1, 0));
	ASSERT_EQ(0, peer_store(&p, self->addr + PAGE, 77));
	ASSERT_EQ((long)(4 * PAGE), tee(pfd[0], other[1], 4 * PAGE, 0));
	ASSERT_EQ((long)(4 * PAGE), read(pfd[0], page, 4 * PAGE));
	EXPECT_EQ(mark(0), *(long *)page);
	EXPECT_EQ(77, *(long *)(page + PAGE));
	EXPECT_EQ(mark(3), *(long *)(page + 4 * PAGE - 8));
	/* The pipe's pages live on when the mapping is gone. */
	ASSERT_EQ(0, do_munmap(self->addr, MEG));
	for (i = 0; i < 4; i++)
		ASSERT_EQ((long)PAGE, splice(other[0], NULL, fd, NULL, PAGE,
					     0));
	ASSERT_EQ((long)(4 * PAGE), pread(fd, page, 4 * PAGE, 0));
	EXPECT_EQ(mark(2), *(long *)(page + 2 * PAGE));
	EXPECT_EQ(77, *(long *)(page + PAGE));
	close(pfd[0]);
	close(pfd[1]);
	close(other[0]);
	close(other[1]);
	close(fd);
	free(page);
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

TEST_F(mshare, process_vm_rw)
{
	long buf[2] = { 1, 2 };
	struct iovec local = { buf, sizeof(buf) };
	struct iovec remote = { self->addr + PAGE - 8, sizeof(buf) };
	char path[64];
	struct peer p;
	long val = 0;
	int fd;

	MAKE_SHARED();
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
	/* Across a page border, through the peer's window. */
	EXPECT_EQ(16, neg(process_vm_writev(p.pid, &local, 1, &remote, 1, 0)));
	EXPECT_EQ(1, load(self->addr + PAGE - 8));
	EXPECT_EQ(2, load(self->addr + PAGE));
	buf[0] = 0;
	buf[1] = 0;
	EXPECT_EQ(16, neg(process_vm_readv(p.pid, &local, 1, &remote, 1, 0)));
	EXPECT_EQ(1, buf[0]);
	EXPECT_EQ(2, buf[1]);

	snprintf(path, sizeof(path), "/proc/%d/mem", p.pid);
	fd = open(path, O_RDWR);
	ASSERT_LE(0, fd);
	val = 3;
	EXPECT_EQ(8, neg(pwrite(fd, &val, 8, (long)self->addr + 8 * PAGE)));
	EXPECT_EQ(3, load(self->addr + 8 * PAGE));
	EXPECT_EQ(0, probe_store(self->addr + 8 * PAGE, 4));
	EXPECT_EQ(8, neg(pread(fd, &val, 8, (long)self->addr + 8 * PAGE)));
	EXPECT_EQ(4, val);
	EXPECT_GE(0, neg(pread(fd, &val, 8, (long)self->addr + 8 * MEG)));
	close(fd);

	ASSERT_EQ(0, neg(ptrace(PTRACE_ATTACH, p.pid, 0, 0)));
	waitpid(p.pid, NULL, 0);
	errno = 0;
	EXPECT_EQ(4, ptrace(PTRACE_PEEKDATA, p.pid, self->addr + 8 * PAGE, 0));
	EXPECT_EQ(0, errno);
	EXPECT_EQ(0, neg(ptrace(PTRACE_POKEDATA, p.pid, self->addr + 9 * PAGE,
				5L)));
	EXPECT_EQ(-EIO, neg(ptrace(PTRACE_POKEDATA, p.pid,
				   self->addr + 8 * MEG, 5L)));
	EXPECT_EQ(0, neg(ptrace(PTRACE_DETACH, p.pid, 0, 0)));
	EXPECT_EQ(5, load(self->addr + 9 * PAGE));
	EXPECT_EQ(5, peer_see(&p, self->addr + 9 * PAGE));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

/* /proc/PID/mem and ptrace() pass addresses on as they are, unaligned. */
TEST_F(mshare, last_page_from_its_middle)
{
	char *last = self->addr + self->len - PAGE;
	char path[64], buf[32] = "";
	struct peer p;
	int fd;

	MAKE_SHARED();
	ASSERT_EQ(0, map_anon(last, PAGE, RW));
	memcpy(last + 2000, "in the middle", 14);
	memcpy(last + PAGE - 8, "the end", 8);

	snprintf(path, sizeof(path), "/proc/%d/mem", p.pid);
	fd = open(path, O_RDWR);
	ASSERT_LE(0, fd);
	EXPECT_EQ(14, neg(pread(fd, buf, 14, (long)last + 2000)));
	EXPECT_STREQ("in the middle", buf);
	EXPECT_EQ(8, neg(pread(fd, buf, 8, (long)last + PAGE - 8)));
	EXPECT_STREQ("the end", buf);
	EXPECT_EQ(6, neg(pwrite(fd, "begin", 6, (long)last + 24)));
	EXPECT_STREQ("begin", last + 24);
	/* Memory next to the window does not belong to the region. */
	EXPECT_EQ(8, neg(pread(fd, buf, 16, (long)last + PAGE - 8)));
	close(fd);

	ASSERT_EQ(0, neg(ptrace(PTRACE_ATTACH, p.pid, 0, 0)));
	waitpid(p.pid, NULL, 0);
	EXPECT_EQ(0, neg(ptrace(PTRACE_POKEDATA, p.pid, last + PAGE - 16, 5L)));
	errno = 0;
	EXPECT_EQ(5, ptrace(PTRACE_PEEKDATA, p.pid, last + PAGE - 16, 0));
	EXPECT_EQ(0, errno);
	EXPECT_EQ(0, neg(ptrace(PTRACE_DETACH, p.pid, 0, 0)));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

TEST_F(mshare, longterm_pin_survives_munmap)
{
	struct pin_longterm_test arg;
	const int pages = 16;
	struct peer p;
	char *buf;
	int fd, i, fast;
	__u64 to;

	fd = open(GUP_TEST_FILE, O_RDWR);
	if (fd < 0)
		SKIP(return, "no " GUP_TEST_FILE);
	buf = mmap(NULL, pages * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, buf);
	to = (unsigned long)buf;
	MAKE_SHARED();
	for (fast = 0; fast < 2; fast++) {
		ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
		fill(self->addr, pages);
		memset(&arg, 0, sizeof(arg));
		arg.addr = (long)self->addr;
		arg.size = pages * PAGE;
		arg.flags = PIN_LONGTERM_TEST_FLAG_USE_WRITE |
			    (fast ? PIN_LONGTERM_TEST_FLAG_USE_FAST : 0);
		ASSERT_EQ(0, neg(ioctl(fd, PIN_LONGTERM_TEST_START, &arg)));
		/* Pinned pages stay the same across a fork ... */
		i = fork();
		if (!i)
			_exit(0);
		waitpid(i, NULL, 0);
		ASSERT_EQ(0, peer_store(&p, self->addr + 5 * PAGE, 5555));
		/* ... and are not freed with their mapping. */
		ASSERT_EQ(0, peer_munmap(&p, self->addr, MEG));
		memset(buf, 0, pages * PAGE);
		ASSERT_EQ(0, neg(ioctl(fd, PIN_LONGTERM_TEST_READ, &to)));
		for (i = 0; i < pages; i++)
			EXPECT_EQ(i == 5 ? 5555 : mark(i),
				  *(long *)(buf + i * PAGE));
		ASSERT_EQ(0, neg(ioctl(fd, PIN_LONGTERM_TEST_STOP)));
		EXPECT_EQ(SIGBUS, probe_byte(self->addr));
	}
	/* A pin outlives the window of its process. */
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
	fill(self->addr, pages);
	ASSERT_EQ(0, neg(ioctl(fd, PIN_LONGTERM_TEST_START, &arg)));
	ASSERT_EQ(0, do_munmap(self->addr, self->len));
	ASSERT_EQ(0, peer_stop(&p));
	ASSERT_EQ(0, sys_mshare_unlink(self->name));
	ASSERT_EQ(0, neg(ioctl(fd, PIN_LONGTERM_TEST_READ, &to)));
	EXPECT_EQ(mark(7), *(long *)(buf + 7 * PAGE));
	close(fd);
}

int main(int argc, char **argv)
{
	return mshare_main(argc, argv);
}
