// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare: holes, ends of files and protections, with accesses from user mode
 * and by the kernel.
 */
#include "mshare_helpers.h"

#include <sys/ioctl.h>

/* 0, or the signal, if its code and address are right. */
#define EXPECT_FAULT(signo, sicode, at, access)				\
do {									\
	EXPECT_EQ(signo, access);					\
	EXPECT_EQ(sicode, last_fault.code);				\
	EXPECT_EQ((void *)(at), last_fault.addr);			\
} while (0)

TEST_F(mshare, unmapped_sigbus_user)
{
	unsigned long g = self->granule;
	char *at[6];
	unsigned int i;
	long val;

	self->len = 2 * g;
	MAKE_REGION();
	at[0] = self->addr;
	at[1] = self->addr + 123 * MEG;
	at[2] = self->addr + g - PAGE;
	at[3] = self->addr + g;
	at[4] = self->addr + 2 * g - PAGE;
	at[5] = self->addr + 2 * g - sizeof(long);
	for (i = 0; i < ARRAY_SIZE(at); i++) {
		EXPECT_FAULT(SIGBUS, BUS_ADRERR, at[i],
			     probe_load(at[i], &val));
		EXPECT_FAULT(SIGBUS, BUS_ADRERR, at[i], probe_store(at[i], 1));
		EXPECT_FAULT(SIGBUS, BUS_ADRERR, at[i], probe_byte(at[i]));
	}
	EXPECT_EQ(SIGSEGV, probe_byte(self->addr - 1));
	EXPECT_EQ(SIGSEGV, probe_byte(self->addr + 2 * g));

	/* A hole between mappings, and a hole made by munmap(). */
	ASSERT_EQ(0, map_anon(self->addr, 3 * PAGE, RW));
	memset(self->addr, 1, 3 * PAGE);
	ASSERT_EQ(0, do_munmap(self->addr + PAGE, PAGE));
	EXPECT_FAULT(SIGBUS, BUS_ADRERR, self->addr + PAGE,
		     probe_store(self->addr + PAGE, 1));
	EXPECT_EQ(0, probe_store(self->addr, 2));
	EXPECT_EQ(0, probe_store(self->addr + 2 * PAGE, 2));
	EXPECT_EQ(0, debug_check());
}

TEST_F(mshare, unmapped_sigbus_kills)
{
	int status;
	pid_t pid;

	/* Without a handler, only the sharer that made the access is killed. */
	MAKE_REGION();
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		signal(SIGBUS, SIG_DFL);
		*self->addr = 1;
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(SIGBUS, WTERMSIG(status));
	EXPECT_EQ(SIGBUS, probe_byte(self->addr));
	EXPECT_EQ(1, region_figure(self->name, "mshare-sharers"));
}

TEST_F(mshare, wrong_protection_sigsegv)
{
	char *ro = self->addr, *none = self->addr + PAGE;
	char *rw = self->addr + 2 * PAGE;
	void (*fn)(void) = (void *)rw;
	long val;

	MAKE_REGION();
	ASSERT_EQ(0, map_anon(ro, PAGE, PROT_READ));
	ASSERT_EQ(0, map_anon(none, PAGE, PROT_NONE));
	ASSERT_EQ(0, map_anon(rw, PAGE, RW));
	EXPECT_EQ(0, load(ro));
	EXPECT_FAULT(SIGSEGV, SEGV_ACCERR, ro, probe_store(ro, 1));
	EXPECT_FAULT(SIGSEGV, SEGV_ACCERR, none, probe_load(none, &val));
	EXPECT_FAULT(SIGSEGV, SEGV_ACCERR, none, probe_store(none, 1));
	memset(rw, 0xc3, 16);
	EXPECT_FAULT(SIGSEGV, SEGV_ACCERR, rw, PROBE(fn()));
}

/* The kernel's own accesses to a hole: EFAULT, never a signal. */
TEST_F(mshare, unmapped_efault_kernel)
{
	struct iovec iov, remote;
	char *hole = self->addr, *page = self->addr + 8 * MEG;
	char buf[64] = "abcdef";
	int fd, pfd[2];

	MAKE_REGION();
	ASSERT_EQ(0, map_anon(page, PAGE, RW));
	ASSERT_EQ(0, pipe(pfd));
	fd = open("/dev/zero", O_RDWR);
	ASSERT_LE(0, fd);

	EXPECT_EQ(-EFAULT, neg(read(fd, hole, 64)));
	EXPECT_EQ(-EFAULT, neg(write(pfd[1], hole, 64)));
	EXPECT_EQ(6, write(pfd[1], buf, 6));
	EXPECT_EQ(-EFAULT, neg(syscall(__NR_ioctl, pfd[0], FIONREAD, hole)));
	EXPECT_EQ(0, neg(syscall(__NR_ioctl, pfd[0], FIONREAD, page)));
	EXPECT_EQ(6, *(int *)page);
	EXPECT_EQ(-EFAULT, neg(syscall(__NR_clock_gettime, CLOCK_REALTIME,
				       hole)));
	EXPECT_EQ(-EFAULT, neg(open(hole, O_RDONLY)));
	EXPECT_EQ(-EFAULT, neg(pipe2((int *)hole, 0)));
	EXPECT_EQ(-EFAULT, neg(syscall(__NR_futex, hole, 0, 0, NULL, NULL, 0)));
	EXPECT_EQ(-EFAULT, sys_mshare(hole, self->addr, self->len, O_RDWR, 0));
	EXPECT_EQ(-EFAULT, sys_mshare_unlink(hole));

	/* By GUP, too. */
	iov.iov_base = buf;
	iov.iov_len = sizeof(buf);
	remote.iov_base = hole;
	remote.iov_len = sizeof(buf);
	EXPECT_EQ(-EFAULT, neg(process_vm_readv(getpid(), &iov, 1, &remote, 1,
						0)));
	EXPECT_EQ(-EFAULT, neg(process_vm_writev(getpid(), &iov, 1, &remote, 1,
						 0)));
	EXPECT_EQ(-EFAULT, neg(vmsplice(pfd[1], &remote, 1, 0)));
	EXPECT_GT(0, do_madvise(hole, PAGE, MADV_POPULATE_READ));

	/*
	 * A transfer that begins in a page and reaches a hole is short, as
	 * everywhere.
	 */
	EXPECT_EQ(32, read(fd, page + PAGE - 32, 64));
	EXPECT_EQ(0, debug_check());
	close(pfd[0]);
	close(pfd[1]);
	close(fd);
}

/* The kernel's own access may populate a page of the window. */
TEST_F(mshare, kernel_faults_pages_in)
{
	struct peer p;
	char path[64] = "/dev/zero";
	int fd;

	MAKE_SHARED();
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
	fd = open("/proc/self/stat", O_RDONLY);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, resident(self->addr));
	EXPECT_LT(8, read(fd, self->addr, PAGE));
	EXPECT_EQ(1, resident(self->addr));
	EXPECT_EQ(load(self->addr), peer_see(&p, self->addr));
	close(fd);

	/* Names read from the window, and calls that write a result there. */
	memcpy(self->addr + PAGE, path, sizeof(path));
	fd = open(self->addr + PAGE, O_RDONLY);
	EXPECT_LE(0, fd);
	close(fd);
	EXPECT_EQ(0, neg(syscall(__NR_pipe2, self->addr + 2 * PAGE, 0)));
	EXPECT_LT(2, *(int *)(self->addr + 2 * PAGE));
	close(((int *)(self->addr + 2 * PAGE))[0]);
	close(((int *)(self->addr + 2 * PAGE))[1]);
	EXPECT_EQ(0, peer_stop(&p));
}

TEST_F(mshare, truncate_sigbus)
{
	char path[] = "/tmp/mshare-trunc-XXXXXX";
	struct peer p;
	int fd;

	MAKE_SHARED();
	fd = mkstemp(path);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, 8 * PAGE));
	ASSERT_EQ(0, map_fd(self->addr, 8 * PAGE, RW, MAP_SHARED, fd, 0));
	ASSERT_EQ(0, map_fd(self->addr + MEG, 8 * PAGE, RW, MAP_PRIVATE, fd,
			    0));
	ASSERT_EQ(0, probe_store(self->addr + 6 * PAGE, 1));
	ASSERT_EQ(1, peer_see(&p, self->addr + 6 * PAGE));
	ASSERT_EQ(0, probe_store(self->addr + MEG + 6 * PAGE, 2));
	ASSERT_EQ(2, peer_see(&p, self->addr + MEG + 6 * PAGE));

	/*
	 * Pages beyond the end are removed for all sharers, including copies.
	 */
	ASSERT_EQ(0, ftruncate(fd, 4 * PAGE));
	EXPECT_EQ(SIGBUS, peer_load(&p, self->addr + 6 * PAGE));
	EXPECT_EQ(BUS_ADRERR, p.fault.code);
	EXPECT_FAULT(SIGBUS, BUS_ADRERR, self->addr + 6 * PAGE,
		     probe_store(self->addr + 6 * PAGE, 1));
	EXPECT_EQ(SIGBUS, peer_load(&p, self->addr + MEG + 6 * PAGE));
	EXPECT_EQ(0, peer_see(&p, self->addr + 3 * PAGE));

	ASSERT_EQ(0, ftruncate(fd, 8 * PAGE));
	EXPECT_EQ(0, peer_see(&p, self->addr + 6 * PAGE));
	EXPECT_EQ(0, peer_see(&p, self->addr + MEG + 6 * PAGE));
	EXPECT_EQ(0, debug_check());
	close(fd);
	unlink(path);
	EXPECT_EQ(0, peer_stop(&p));
}

int main(int argc, char **argv)
{
	return mshare_main(argc, argv);
}
