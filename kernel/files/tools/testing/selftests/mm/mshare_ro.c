// SPDX-License-Identifier: GPL-2.0-only
/* mshare: a read-only sharer cannot write by any means. */
#include "mshare_helpers.h"

#include <linux/futex.h>
#include <sys/ptrace.h>
#include <sys/socket.h>

#include "mshare_gup.h"

#define KEEP 0x1122334455667788L

/*
 * A region of one writable megabyte with two resident pages. The creator is a
 * read-write sharer, peer p a read-only sharer.
 */
#define MAKE_RO_SHARED()						\
do {									\
	ASSERT_EQ(0, peer_start(&p));					\
	MAKE_REGION();							\
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));			\
	ASSERT_EQ(0, probe_store(self->addr, KEEP));			\
	ASSERT_EQ(0, probe_store(self->addr + PAGE, KEEP));		\
	ATTACH_PEER(&p, O_RDONLY);					\
	ASSERT_EQ(KEEP, peer_see(&p, self->addr));			\
} while (0)

PEER_FN(pf_cmpxchg)
{
	PEER_UNUSED();
	return PROBE(__sync_val_compare_and_swap((long *)a, b, c));
}

TEST_F(mshare, ro_store_sigsegv)
{
	char *resident_page = self->addr, *absent = self->addr + 9 * PAGE;
	struct peer p;
	int sig;

	MAKE_RO_SHARED();
	EXPECT_EQ(SIGSEGV, peer_store(&p, resident_page, 1));
	EXPECT_EQ(SEGV_ACCERR, p.fault.code);
	EXPECT_EQ((void *)resident_page, p.fault.addr);
	EXPECT_EQ(SIGSEGV, peer_call(&p, pf_cmpxchg, (long)resident_page, KEEP,
				     1));
	EXPECT_EQ(SIGSEGV, peer_store(&p, absent, 1));
	EXPECT_EQ(SEGV_ACCERR, p.fault.code);
	/*
	 * After it has been read; a later store by the writer must not make it
	 * writable.
	 */
	EXPECT_EQ(0, peer_see(&p, absent));
	EXPECT_EQ(SIGSEGV, peer_store(&p, absent, 1));
	EXPECT_EQ(0, probe_store(absent, 5));
	EXPECT_EQ(5, peer_see(&p, absent));
	EXPECT_EQ(SIGSEGV, peer_store(&p, absent, 1));
	/* A store to a hole gets either error, but never succeeds. */
	sig = peer_store(&p, self->addr + 2 * MEG, 1);
	EXPECT_TRUE(sig == SIGSEGV || sig == SIGBUS);
	EXPECT_EQ(SIGBUS, peer_load(&p, self->addr + 2 * MEG));

	EXPECT_EQ(KEEP, load(resident_page));
	EXPECT_EQ(5, load(absent));
	/* The other sharer could write all the time. */
	EXPECT_EQ(0, probe_store(resident_page, 6));
	EXPECT_EQ(6, peer_see(&p, resident_page));
	EXPECT_EQ(0, peer_stop(&p));
}

/* Read-only and read-write processes take turns on one CPU. */
TEST_F(mshare, ro_beside_rw_on_one_cpu)
{
	struct peer p;
	cpu_set_t set;
	int i;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	ASSERT_EQ(0, sched_setaffinity(0, sizeof(set), &set));
	MAKE_RO_SHARED();
	for (i = 0; i < scaled(2000, 300); i++) {
		ASSERT_EQ(0, probe_store(self->addr, i));
		ASSERT_EQ(SIGSEGV, peer_store(&p, self->addr, -1));
		ASSERT_EQ(i, peer_see(&p, self->addr));
	}
	EXPECT_EQ(0, peer_stop(&p));
}

PEER_FN(pf_read_zero)
{
	int fd = open("/dev/zero", O_RDONLY);
	long ret;

	PEER_UNUSED();
	ret = neg(read(fd, (void *)a, b));
	close(fd);
	return ret;
}

PEER_FN(pf_read_pipe)
{
	char buf[64] = { 1 };
	int fd[2];
	long ret;

	PEER_UNUSED();
	if (pipe(fd) || write(fd[1], buf, sizeof(buf)) != sizeof(buf))
		return -errno;
	ret = neg(read(fd[0], (void *)a, sizeof(buf)));
	close(fd[0]);
	close(fd[1]);
	return ret;
}

PEER_FN(pf_recv)
{
	char buf[64] = { 1 };
	int fd[2];
	long ret;

	PEER_UNUSED();
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fd) ||
	    write(fd[1], buf, sizeof(buf)) != sizeof(buf))
		return -errno;
	ret = neg(recv(fd[0], (void *)a, sizeof(buf), 0));
	close(fd[0]);
	close(fd[1]);
	return ret;
}

PEER_FN(pf_clock)
{
	PEER_UNUSED();
	return neg(syscall(__NR_clock_gettime, CLOCK_REALTIME, a));
}

PEER_FN(pf_getcwd)
{
	PEER_UNUSED();
	return neg(syscall(__NR_getcwd, a, b));
}

PEER_FN(pf_write_from)
{
	int fd[2];
	long ret;

	PEER_UNUSED();
	if (pipe(fd))
		return -errno;
	ret = neg(write(fd[1], (void *)a, b));
	close(fd[0]);
	close(fd[1]);
	return ret;
}

TEST_F(mshare, ro_copy_to_user_efault)
{
	static const long offset[] = { 0, 30 * PAGE };
	struct peer p;
	unsigned int i;
	long at;

	MAKE_RO_SHARED();
	for (i = 0; i < ARRAY_SIZE(offset); i++) {
		at = (long)self->addr + offset[i];
		EXPECT_EQ(-EFAULT, peer_call(&p, pf_read_zero, at, 64));
		EXPECT_EQ(-EFAULT, peer_call(&p, pf_read_zero, at, 3 * PAGE));
		EXPECT_EQ(-EFAULT, peer_call(&p, pf_read_pipe, at));
		EXPECT_EQ(-EFAULT, peer_call(&p, pf_recv, at));
		EXPECT_EQ(-EFAULT, peer_call(&p, pf_clock, at));
		EXPECT_EQ(-EFAULT, peer_call(&p, pf_getcwd, at, 64));
		/* Reading is allowed. */
		EXPECT_EQ(64, peer_call(&p, pf_write_from, at, 64));
	}
	EXPECT_EQ(KEEP, load(self->addr));
	EXPECT_EQ(0, load(self->addr + 30 * PAGE));
	EXPECT_EQ(0, peer_stop(&p));
}

PEER_FN(pf_mremap)
{
	PEER_UNUSED();
	return do_mremap((void *)a, b, c, d, (void *)e);
}

PEER_FN(pf_mlock)
{
	PEER_UNUSED();
	return neg(mlock((void *)a, b));
}

PEER_FN(pf_munlock)
{
	PEER_UNUSED();
	return neg(munlock((void *)a, b));
}

PEER_FN(pf_msync)
{
	PEER_UNUSED();
	return neg(msync((void *)a, b, c));
}

PEER_FN(pf_resident)
{
	PEER_UNUSED();
	return resident((void *)a);
}

PEER_FN(pf_noreplace)
{
	void *p = mmap((void *)a, b, c, MAP_PRIVATE | MAP_ANONYMOUS |
		       MAP_FIXED_NOREPLACE, -1, 0);

	PEER_UNUSED();
	return p == MAP_FAILED ? -errno : 0;
}

TEST_F(mshare, ro_syscalls_eacces)
{
	static const int denied[] = {
		MADV_NORMAL, MADV_RANDOM, MADV_DONTNEED, MADV_REMOVE, MADV_FREE,
		MADV_COLD, MADV_PAGEOUT, MADV_HUGEPAGE, MADV_NOHUGEPAGE,
		MADV_DONTDUMP, MADV_MERGEABLE, MADV_DONTFORK, MADV_COLLAPSE,
		MADV_POPULATE_WRITE,
	};
	long a = (long)self->addr, free_at = a + 8 * MEG, ret;
	struct peer p;
	unsigned int i;

	MAKE_RO_SHARED();
	EXPECT_EQ(-EACCES, peer_call(&p, pf_map_anon, a, PAGE, RW));
	EXPECT_EQ(-EACCES, peer_call(&p, pf_map_anon, a, PAGE, PROT_READ));
	EXPECT_EQ(-EACCES, peer_call(&p, pf_map_shmem, free_at, PAGE, RW));
	EXPECT_EQ(-EACCES, peer_call(&p, pf_noreplace, free_at, PAGE, RW));
	EXPECT_EQ(-EACCES, peer_call(&p, pf_munmap, a, PAGE));
	EXPECT_EQ(-EACCES, peer_call(&p, pf_mprotect, a, PAGE, RW));
	EXPECT_EQ(-EACCES, peer_call(&p, pf_mprotect, a, PAGE, PROT_READ));
	EXPECT_EQ(-EACCES, peer_call(&p, pf_mprotect, a, PAGE, PROT_NONE));
	EXPECT_EQ(-EACCES, peer_call(&p, pf_mremap, a, MEG, 2 * MEG,
				     MREMAP_MAYMOVE));
	EXPECT_EQ(-EACCES, peer_call(&p, pf_mremap, a, MEG, PAGE, 0));
	EXPECT_EQ(-EACCES, peer_call(&p, pf_mlock, a, PAGE));
	EXPECT_EQ(-EACCES, peer_call(&p, pf_munlock, a, PAGE));
	for (i = 0; i < ARRAY_SIZE(denied); i++) {
		if (!have_advice(denied[i]))
			continue;
		ret = peer_call(&p, pf_madvise, a, PAGE, denied[i]);
		EXPECT_EQ(-EACCES, ret)
			TH_LOG("advice %d", denied[i]);
	}
	EXPECT_EQ(-EACCES, peer_call(&p, pf_msync, a, PAGE, MS_SYNC));
	/* Also for the whole window, which mprotect() accepts as well. */
	EXPECT_EQ(-EACCES, peer_call(&p, pf_mprotect, a, self->len, RW));

	/* Calls that only look, or that request what reading would do. */
	EXPECT_EQ(1, peer_call(&p, pf_resident, a));
	EXPECT_EQ(have_swap() ? 0 : -EBADF,
		  peer_call(&p, pf_madvise, a, PAGE, MADV_WILLNEED));
	EXPECT_EQ(0, peer_call(&p, pf_madvise, a, MEG, MADV_POPULATE_READ));
	EXPECT_EQ(0, peer_call(&p, pf_msync, a, PAGE, MS_ASYNC));

	EXPECT_EQ(KEEP, load(self->addr));
	EXPECT_EQ(0, probe_store(self->addr, 1));
	EXPECT_EQ(SIGBUS, probe_byte((void *)free_at));
	/* Detaching needs no permission. */
	EXPECT_EQ(0, peer_call(&p, pf_munmap, a, self->len));
	EXPECT_EQ(SIGSEGV, peer_load(&p, self->addr));
	EXPECT_EQ(0, peer_stop(&p));
}

TEST_F(mshare, ro_gup_fast_and_slow)
{
	static const int cmd[] = {
		GUP_FAST_BENCHMARK, PIN_FAST_BENCHMARK, PIN_LONGTERM_BENCHMARK,
		GUP_BASIC_TEST, PIN_BASIC_TEST,
	};
	long a = (long)self->addr;
	struct peer p;
	unsigned int i;
	long ret;

	if (access(GUP_TEST_FILE, R_OK | W_OK))
		SKIP(return, "no " GUP_TEST_FILE);
	MAKE_RO_SHARED();
	for (i = 0; i < ARRAY_SIZE(cmd); i++) {
		/* Pages pinned: two that are resident, two that are not. */
		ret = peer_call(&p, pf_gup_test, cmd[i], a, 2, FOLL_WRITE);
		EXPECT_EQ(0, ret)
			TH_LOG("command %u, resident, to write", i);
		ret = peer_call(&p, pf_gup_test, cmd[i], a + 8 * PAGE, 2,
				FOLL_WRITE);
		EXPECT_EQ(0, ret)
			TH_LOG("command %u, absent, to write", i);
		ret = peer_call(&p, pf_gup_test, cmd[i], a, 2, 0);
		EXPECT_EQ(2, ret)
			TH_LOG("command %u, resident, to read", i);
		/* The writer pins through its own window. */
		ret = gup_test(cmd[i], a, 2, FOLL_WRITE);
		EXPECT_EQ(2, ret)
			TH_LOG("command %u, by the writer", i);
	}
	EXPECT_EQ(KEEP, load(self->addr));
	EXPECT_EQ(0, peer_stop(&p));
}

/* O_DIRECT: the device writes into pinned memory. */
TEST_F(mshare, ro_o_direct_read_efault)
{
	long a = (long)self->addr;
	struct loop_dev dev;
	struct peer p;
	long ret;

	ret = loop_open(&dev, MEG);
	if (ret)
		SKIP(return, "no loop device: %s", strerror(-ret));
	MAKE_RO_SHARED();
	EXPECT_EQ(-EFAULT, peer_call(&p, pf_pread_direct, (long)dev.path, a,
				     PAGE, 0));
	EXPECT_EQ(-EFAULT, peer_call(&p, pf_pread_direct, (long)dev.path,
				     a + 8 * PAGE, 2 * PAGE, 0));
	EXPECT_EQ(KEEP, load(self->addr));
	/* The device only reads from the window. */
	EXPECT_EQ(PAGE, peer_call(&p, pf_pwrite_direct, (long)dev.path, a,
				  PAGE, 0));
	EXPECT_EQ(0, probe_store(self->addr, 0));
	EXPECT_EQ(PAGE, pf_pread_direct((long)dev.path, a, PAGE, 0, 0, 0));
	EXPECT_EQ(KEEP, load(self->addr));
	loop_close(&dev);
	EXPECT_EQ(0, peer_stop(&p));
}

TEST_F(mshare, ro_io_uring_efault)
{
	long a = (long)self->addr;
	struct peer p;
	long ret;

	MAKE_RO_SHARED();
	ret = uring_probe();
	if (ret) {
		EXPECT_EQ(0, peer_stop(&p));
		SKIP(return, "no io_uring: %s", strerror(-ret));
	}
	/* A registered buffer is pinned for writing. */
	EXPECT_EQ(-EFAULT, peer_call(&p, pf_uring_register, a, PAGE));
	EXPECT_EQ(-EFAULT, peer_call(&p, pf_uring_register, a + 8 * PAGE,
				     PAGE));
	/* A plain read of /dev/zero into the window. */
	EXPECT_EQ(-EFAULT, peer_call(&p, pf_uring_read, a, 64));
	EXPECT_EQ(0, pf_uring_register(a, PAGE, 0, 0, 0, 0));
	EXPECT_EQ(KEEP, load(self->addr));
	EXPECT_EQ(0, peer_stop(&p));
}

PEER_FN(pf_vmsplice_out)
{
	char buf[64] = { 1 };
	struct iovec iov = { (void *)a, sizeof(buf) };
	int fd[2];
	long ret;

	PEER_UNUSED();
	if (pipe(fd) || write(fd[1], buf, sizeof(buf)) != sizeof(buf))
		return -errno;
	/* From a pipe's read end, vmsplice() copies to the caller. */
	ret = neg(vmsplice(fd[0], &iov, 1, 0));
	close(fd[0]);
	close(fd[1]);
	return ret;
}

PEER_FN(pf_futex_lock_pi)
{
	PEER_UNUSED();
	return neg(syscall(__NR_futex, a, b, 0, NULL, NULL, 0));
}

TEST_F(mshare, ro_vmsplice_and_futex_efault)
{
	struct peer p;

	MAKE_RO_SHARED();
	EXPECT_EQ(-EFAULT, peer_call(&p, pf_vmsplice_out, (long)self->addr));
	EXPECT_EQ(-EFAULT, peer_call(&p, pf_vmsplice_out,
				     (long)self->addr + 8 * PAGE));
	EXPECT_EQ(KEEP, load(self->addr));
	/* A free PI futex is taken by a write to it. */
	EXPECT_EQ(0, probe_store(self->addr, 0));
	EXPECT_EQ(-EFAULT, peer_call(&p, pf_futex_lock_pi, (long)self->addr,
				     FUTEX_LOCK_PI_PRIVATE));
	EXPECT_EQ(-EFAULT, peer_call(&p, pf_futex_lock_pi, (long)self->addr,
				     FUTEX_LOCK_PI));
	EXPECT_EQ(0, load(self->addr));
	EXPECT_EQ(0, peer_stop(&p));
}

PEER_FN(pf_write_own_mem)
{
	long val = b;
	long ret;
	int fd;

	PEER_UNUSED();
	fd = open("/proc/self/mem", O_RDWR);
	if (fd < 0)
		return -errno;
	ret = neg(pwrite(fd, &val, sizeof(val), a));
	close(fd);
	return ret;
}

PEER_FN(pf_pvm_write_self)
{
	long val = b;
	struct iovec local = { &val, sizeof(val) };
	struct iovec remote = { (void *)a, sizeof(val) };

	PEER_UNUSED();
	return neg(process_vm_writev(getpid(), &local, 1, &remote, 1, 0));
}

/*
 * Stop a peer with ptrace, peek, poke and continue it. Return: errno of the
 * poke.
 */
static long poke(struct peer *p, long at, long val, long *old)
{
	long ret;

	if (ptrace(PTRACE_ATTACH, p->pid, 0, 0))
		return -errno;
	waitpid(p->pid, NULL, 0);
	errno = 0;
	*old = ptrace(PTRACE_PEEKDATA, p->pid, at, 0);
	ret = errno ? -errno : 0;
	if (!ret)
		ret = neg(ptrace(PTRACE_POKEDATA, p->pid, at, val));
	ptrace(PTRACE_DETACH, p->pid, 0, 0);
	return ret;
}

TEST_F(mshare, ro_proc_mem_ptrace_pvmwritev)
{
	long a = (long)self->addr, absent = a + 8 * PAGE, old = 0, val = 1;
	struct iovec local = { &val, sizeof(val) };
	struct iovec remote = { self->addr, sizeof(val) };
	char path[64];
	struct peer p;
	int fd;

	MAKE_RO_SHARED();
	EXPECT_GT(0, peer_call(&p, pf_write_own_mem, a, 1));
	EXPECT_GT(0, peer_call(&p, pf_write_own_mem, absent, 1));
	EXPECT_EQ(-EFAULT, peer_call(&p, pf_pvm_write_self, a, 1));
	EXPECT_EQ(-EFAULT, peer_call(&p, pf_pvm_write_self, absent, 1));
	EXPECT_EQ(KEEP, load(self->addr));

	/* From outside, through the read-only window. */
	EXPECT_EQ(-EFAULT, neg(process_vm_writev(p.pid, &local, 1, &remote, 1,
						 0)));
	EXPECT_EQ(8, neg(process_vm_readv(p.pid, &local, 1, &remote, 1, 0)));
	EXPECT_EQ(KEEP, val);
	snprintf(path, sizeof(path), "/proc/%d/mem", p.pid);
	fd = open(path, O_RDWR);
	ASSERT_LE(0, fd);
	val = 1;
	EXPECT_GT(0, neg(pwrite(fd, &val, 8, a)));
	EXPECT_EQ(8, pread(fd, &val, 8, a));
	EXPECT_EQ(KEEP, val);
	close(fd);
	EXPECT_EQ(-EIO, poke(&p, a, 1, &old));
	EXPECT_EQ(KEEP, old);
	EXPECT_EQ(-EIO, poke(&p, absent, 1, &old));
	EXPECT_EQ(KEEP, load(self->addr));
	EXPECT_EQ(0, load((void *)absent));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

PEER_FN(pf_become_nobody)
{
	PEER_UNUSED();
	return neg(setresgid(65534, 65534, 65534)) ?:
	       neg(setresuid(65534, 65534, 65534));
}

PEER_FN(pf_map_region_file)
{
	int fd = open((const char *)a, O_RDONLY);
	void *p;

	PEER_UNUSED();
	if (fd < 0)
		return -errno;
	p = mmap(NULL, PAGE, b, c, fd, 0);
	close(fd);
	return p == MAP_FAILED ? -errno : 0;
}

/* Not through a second mapping of the sharer's own either. */
TEST_F(mshare, ro_no_second_mapping)
{
	unsigned long g = self->granule;
	long a = (long)self->addr, outside = a + 2 * g;
	struct peer p;

	MAKE_RO_SHARED();
	ASSERT_EQ(0, chmod(self->path, 0644));
	ASSERT_EQ(0, peer_call(&p, pf_become_nobody));
	ASSERT_EQ(0, peer_call(&p, pf_munmap, a, self->len));
	EXPECT_EQ(-EACCES, peer_call(&p, pf_mshare, (long)self->name, a,
				     self->len, O_RDWR));
	ATTACH_PEER(&p, O_RDONLY);
	EXPECT_EQ(-EEXIST, peer_call(&p, pf_mshare, (long)self->name, a,
				     self->len, O_RDONLY));
	EXPECT_EQ(-EINVAL, peer_call(&p, pf_mshare, (long)self->name, outside,
				     self->len, O_RDONLY));
	EXPECT_GT(0, peer_call(&p, pf_mremap, a, 0, PAGE, MREMAP_MAYMOVE));
	EXPECT_GT(0, peer_call(&p, pf_mremap, a, self->len, self->len,
			       MREMAP_MAYMOVE | MREMAP_FIXED, outside));
	EXPECT_GT(0, peer_call(&p, pf_map_region_file, (long)self->path,
			       PROT_READ, MAP_SHARED));
	EXPECT_GT(0, peer_call(&p, pf_map_region_file, (long)self->path,
			       RW, MAP_PRIVATE));
	EXPECT_EQ(SIGSEGV, peer_store(&p, self->addr, 1));
	EXPECT_EQ(KEEP, peer_see(&p, self->addr));
	EXPECT_EQ(0, peer_stop(&p));
}

/* O_CREAT|O_RDONLY: permanently read-only for all, including the creator. */
TEST_F(mshare, ro_for_everyone_region)
{
	long a = (long)self->addr;
	struct peer p;

	ASSERT_EQ(0, peer_start(&p));
	ASSERT_EQ(0, sys_mshare(self->name, self->addr, self->len,
				O_CREAT | O_RDONLY, 0666));
	EXPECT_EQ(-EACCES, map_anon(self->addr, PAGE, RW));
	EXPECT_EQ(-EACCES, map_shmem(self->addr, PAGE, PROT_READ));
	EXPECT_EQ(SIGBUS, probe_byte(self->addr));
	EXPECT_LT(0, probe_store(self->addr, 1));
	/* Modes do not restrict root, but this does. */
	EXPECT_EQ(-EACCES, peer_call(&p, pf_mshare, (long)self->name, a,
				     self->len, O_RDWR));
	EXPECT_EQ(-EACCES, peer_call(&p, pf_mshare, (long)self->name, a,
				     self->len, O_CREAT | O_RDWR, 0666));
	EXPECT_EQ(1, region_figure(self->name, "mshare-sharers"));
	ATTACH_PEER(&p, O_RDONLY);
	EXPECT_EQ(-EACCES, peer_call(&p, pf_map_anon, a, PAGE, RW));
	EXPECT_EQ(0, do_munmap(self->addr, self->len));
	EXPECT_EQ(-EACCES, sys_mshare(self->name, self->addr, self->len,
				      O_RDWR, 0));
	EXPECT_EQ(0, peer_stop(&p));
}

/* mov $42, %eax; ret */
static const unsigned char code[] = { 0xb8, 42, 0, 0, 0, 0xc3 };

/* What the code at a returns; a negative signal if it does not run. */
PEER_FN(pf_call)
{
	int sig, got = 0;

	PEER_UNUSED();
	sig = PROBE(got = ((int (*)(void))a)());
	return sig ? -sig : got;
}

/*
 * A read-only sharer cannot execute what others map. It gets a signal and not
 * an endless fault, although the host's own mapping allows execution.
 */
TEST_F(mshare, ro_window_does_not_execute)
{
	char *text = self->addr + 2 * MEG, *absent = self->addr + 4 * MEG;
	struct peer ro, rw;
	char *line;

	ASSERT_EQ(0, peer_start(&ro));
	ASSERT_EQ(0, peer_start(&rw));
	MAKE_REGION();
	ATTACH_PEER(&ro, O_RDONLY);
	ATTACH_PEER(&rw, O_RDWR);
	ASSERT_EQ(0, map_anon(text, PAGE, RW | PROT_EXEC));
	ASSERT_EQ(0, map_anon(absent, PAGE, RW | PROT_EXEC));
	memcpy(text, code, sizeof(code));
	EXPECT_EQ(42, pf_call((long)text, 0, 0, 0, 0, 0));
	EXPECT_EQ(42, peer_call(&rw, pf_call, (long)text));
	EXPECT_EQ(-SIGSEGV, peer_call(&ro, pf_call, (long)text));
	EXPECT_EQ(SIGSEGV, ro.fault.sig);
	EXPECT_EQ(SEGV_ACCERR, ro.fault.code);
	EXPECT_EQ(text, (char *)ro.fault.addr);
	/* Not resident yet: the fault brings no page. */
	EXPECT_EQ(-SIGSEGV, peer_call(&ro, pf_call, (long)absent));
	EXPECT_EQ(SEGV_ACCERR, ro.fault.code);
	EXPECT_EQ(0, resident(absent));
	/* Reading works as before. */
	EXPECT_EQ(load(text), peer_see(&ro, text));
	line = self_maps_line(self->addr);
	ASSERT_NE(NULL, line);
	EXPECT_NE(NULL, strstr(line, " rw-s "));
	/* Not after a change of protection either, and not with huge pages. */
	EXPECT_EQ(0, do_mprotect(text, PAGE, PROT_READ | PROT_EXEC));
	EXPECT_EQ(42, peer_call(&rw, pf_call, (long)text));
	EXPECT_EQ(-SIGSEGV, peer_call(&ro, pf_call, (long)text));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&ro));
	EXPECT_EQ(0, peer_stop(&rw));
}

/* Read-only for everyone: the creator's own code stops running, too. */
TEST_F(mshare, ro_for_everyone_does_not_execute)
{
	struct peer child;

	ASSERT_EQ(0, map_anon(self->addr, PAGE, RW | PROT_EXEC));
	memcpy(self->addr, code, sizeof(code));
	EXPECT_EQ(42, pf_call((long)self->addr, 0, 0, 0, 0, 0));
	ASSERT_EQ(0, sys_mshare(self->name, self->addr, self->len,
				O_CREAT | O_EXCL | O_RDONLY, 0600));
	EXPECT_EQ(-SIGSEGV, pf_call((long)self->addr, 0, 0, 0, 0, 0));
	EXPECT_EQ(SEGV_ACCERR, last_fault.code);
	/* And so does the child's. */
	ASSERT_EQ(0, peer_start(&child));
	EXPECT_EQ(-SIGSEGV, peer_call(&child, pf_call, (long)self->addr));
	EXPECT_EQ(0, peer_stop(&child));
	EXPECT_EQ(0, debug_check());
}

/*
 * How often a dump of page tables shows pages in a range, or -1 if the kernel
 * has no such dump.  A line begins with the range that it describes.
 */
static int pages_in_dump(const char *dump, char *start, char *end)
{
	char path[128], *line = NULL;
	unsigned long from;
	int pages = 0;
	size_t size = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/kernel/debug/page_tables/%s", dump);
	f = fopen(path, "re");
	if (!f)
		return -1;
	while (getline(&line, &size, f) > 0)
		if (sscanf(line, "0x%lx-", &from) == 1 &&
		    from >= (unsigned long)start && from < (unsigned long)end &&
		    strstr(line, " pte"))
			pages++;
	free(line);
	fclose(f);
	return pages;
}

/*
 * A dump of all page tables skips windows, and does not change them: the entry
 * of a read-only window has NX, which could look like damage.  Private memory
 * next to windows is shown, even in the same table.
 */
TEST_F(mshare, page_table_dump_leaves_window)
{
	static const char * const dumps[] = { "current_kernel", "current_user" };
	char *end = self->addr + self->len;
	int i, dumped = 0;

	ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
	ASSERT_EQ(0, probe_store(self->addr, KEEP));
	ASSERT_EQ(0, sys_mshare(self->name, self->addr, self->len,
				O_CREAT | O_EXCL | O_RDONLY, 0600));
	ASSERT_EQ(0, map_anon(self->addr - PAGE, PAGE, RW));
	ASSERT_EQ(0, probe_store(self->addr - PAGE, KEEP));
	ASSERT_EQ(0, map_anon(end, PAGE, RW));
	ASSERT_EQ(0, probe_store(end, KEEP));
	for (i = 0; i < 2; i++) {
		if (pages_in_dump(dumps[i], end, end + PAGE) < 0)
			continue;
		dumped++;
		EXPECT_EQ(1, pages_in_dump(dumps[i], self->addr - PAGE,
					   self->addr));
		EXPECT_EQ(0, pages_in_dump(dumps[i], self->addr, end));
		EXPECT_EQ(1, pages_in_dump(dumps[i], end, end + PAGE));
		EXPECT_EQ(KEEP, load(self->addr));
		EXPECT_EQ(KEEP, load(self->addr - PAGE));
		EXPECT_EQ(KEEP, load(end));
		EXPECT_EQ(0, debug_check());
	}
	if (!dumped)
		SKIP(return, "no dump of page tables");
}

/* The kernel writes to a registered buffer without page tables. */
TEST_F(mshare, ro_donation_of_pinned_memory_busy)
{
	struct uring r;
	char *at = self->addr + MEG;

	if (uring_probe())
		SKIP(return, "no io_uring");
	ASSERT_EQ(0, map_anon(at, 4 * PAGE, RW));
	ASSERT_EQ(0, probe_store(at, KEEP));
	ASSERT_EQ(0, uring_open(&r));
	ASSERT_EQ(0, uring_register(&r, at + PAGE, PAGE));
	EXPECT_EQ(-EBUSY, sys_mshare(self->name, self->addr, self->len,
				     O_CREAT | O_EXCL | O_RDONLY, 0600));
	/* Nothing has changed. */
	EXPECT_EQ(-ENOENT, region_open(self->name, O_RDONLY));
	EXPECT_EQ(0, probe_store(at, KEEP + 1));
	EXPECT_EQ(KEEP + 1, load(at));
	/* Donation is allowed if all sharers may write. */
	EXPECT_EQ(0, sys_mshare(self->name2, self->addr, self->len,
				O_CREAT | O_EXCL | O_RDWR, 0600));
	EXPECT_EQ(0, sys_mshare_unlink(self->name2));

	/* After the pin has been released, the memory can be donated. */
	EXPECT_EQ(0, uring_unregister(&r));
	ASSERT_EQ(0, map_anon(at, 4 * PAGE, RW));
	ASSERT_EQ(0, uring_register(&r, at, PAGE));
	EXPECT_EQ(0, uring_unregister(&r));
	EXPECT_TRUE(WAIT_FOR(sys_mshare(self->name, self->addr, self->len,
					O_CREAT | O_EXCL | O_RDONLY, 0600) == 0,
			     10000));
	uring_close(&r);
	EXPECT_EQ(0, debug_check());
}

/* The same for a huge page. */
TEST_F(mshare, ro_donation_of_pinned_huge_page_busy)
{
	char *at = self->addr + 2 * MEG;
	struct uring r;

	if (uring_probe() || !have_thp())
		SKIP(return, "no io_uring, or no huge pages");
	ASSERT_EQ(0, map_anon(at, 2 * MEG, RW));
	do_madvise(at, 2 * MEG, MADV_HUGEPAGE);
	ASSERT_EQ(0, probe_store(at, KEEP));
	ASSERT_EQ(0, uring_open(&r));
	ASSERT_EQ(0, uring_register(&r, at + MEG, PAGE));
	EXPECT_EQ(-EBUSY, sys_mshare(self->name, self->addr, self->len,
				     O_CREAT | O_EXCL | O_RDONLY, 0600));
	EXPECT_EQ(0, probe_store(at, KEEP + 1));
	uring_close(&r);
}

/* Puts a page into a pipe, which holds a reference to it but no pin. */
static long page_to_pipe(int fd, char *at)
{
	struct iovec iov = { .iov_base = at, .iov_len = PAGE };

	return neg(vmsplice(fd, &iov, 1, 0));
}

/*
 * O_DIRECT reads of some file systems write to pages that they only hold
 * references to. A page in a pipe is held in the same way.
 */
static void referenced_memory_busy(struct __test_metadata *_metadata,
				   FIXTURE_DATA(mshare) * self, bool swapped)
{
	char *at = self->addr + MEG, buf[PAGE];
	int fds[2];

	ASSERT_EQ(0, neg(pipe(fds)));
	ASSERT_EQ(0, map_anon(at, PAGE, RW));
	ASSERT_EQ(0, probe_store(at, KEEP));
	ASSERT_EQ((long)PAGE, page_to_pipe(fds[1], at));
	if (swapped) {
		ASSERT_EQ(0, do_madvise(at, PAGE, MADV_PAGEOUT));
		EXPECT_EQ(PAGE / 1024, smaps_kb(getpid(), at, "Swap"));
	}
	EXPECT_EQ(-EBUSY, sys_mshare(self->name, self->addr, self->len,
				     O_CREAT | O_EXCL | O_RDONLY, 0600));
	EXPECT_EQ(-ENOENT, region_open(self->name, O_RDONLY));
	/* Donation is allowed if all sharers may write. */
	EXPECT_EQ(0, sys_mshare(self->name2, self->addr, self->len,
				O_CREAT | O_EXCL | O_RDWR, 0600));
	EXPECT_EQ(0, sys_mshare_unlink(self->name2));
	ASSERT_EQ(0, do_munmap(self->addr, self->len));
	ASSERT_EQ((long)PAGE, neg(read(fds[0], buf, PAGE)));

	/* What nothing holds any more can be donated at once. */
	ASSERT_EQ(0, map_anon(at, PAGE, RW));
	ASSERT_EQ(0, probe_store(at, KEEP));
	ASSERT_EQ((long)PAGE, page_to_pipe(fds[1], at));
	ASSERT_EQ((long)PAGE, neg(read(fds[0], buf, PAGE)));
	EXPECT_EQ(0, sys_mshare(self->name, self->addr, self->len,
				O_CREAT | O_EXCL | O_RDONLY, 0600));
	EXPECT_EQ(KEEP, load(at));
	close(fds[0]);
	close(fds[1]);
	EXPECT_EQ(0, debug_check());
}

TEST_F(mshare, ro_donation_of_referenced_memory_busy)
{
	referenced_memory_busy(_metadata, self, false);
}

TEST_F(mshare, ro_donation_of_referenced_swap_busy)
{
	int swap = swap_begin();

	if (swap < 0)
		SKIP(return, "no swap: %s", strerror(-swap));
	referenced_memory_busy(_metadata, self, true);
	if (swap)
		EXPECT_EQ(0, swap_end());
}

/* Memory that processes share after fork() has more than one mapping. */
TEST_F(mshare, ro_donation_of_memory_of_two_processes)
{
	char *at = self->addr + MEG;
	struct peer p;

	ASSERT_EQ(0, map_anon(at, 8 * PAGE, RW));
	ASSERT_EQ(0, probe_store(at, KEEP));
	ASSERT_EQ(0, peer_start(&p));
	EXPECT_EQ(0, sys_mshare(self->name, self->addr, self->len,
				O_CREAT | O_EXCL | O_RDONLY, 0600));
	EXPECT_EQ(KEEP, load(at));
	/* The child's memory is its own. */
	EXPECT_EQ(0, peer_store(&p, at, 1));
	EXPECT_EQ(KEEP, load(at));
	EXPECT_EQ(0, peer_stop(&p));
}

/* A page of a file that is mapped more than a thousand times looks as if it were pinned. */
TEST_F(mshare, ro_donation_of_a_file_with_many_mappings)
{
	int fd = memfd_create("popular", MFD_CLOEXEC), i;
	char *at = self->addr + MEG, *others;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, neg(ftruncate(fd, PAGE)));
	ASSERT_EQ(0, map_fd(at, PAGE, RW, MAP_SHARED, fd, 0));
	ASSERT_EQ(0, probe_store(at, KEEP));
	others = mmap(NULL, 2048 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
		      -1, 0);
	ASSERT_NE(MAP_FAILED, others);
	for (i = 0; i < 2048; i += 2) {
		ASSERT_EQ(0, map_fd(others + i * PAGE, PAGE, PROT_READ,
				    MAP_SHARED, fd, 0));
		ASSERT_EQ(KEEP, load(others + i * PAGE));
	}
	EXPECT_EQ(0, sys_mshare(self->name, self->addr, self->len,
				O_CREAT | O_EXCL | O_RDONLY, 0600));
	EXPECT_EQ(KEEP, load(at));
	close(fd);
}

/* The access that fdinfo shows: 1 for "r", 2 for "rw", or a negative errno. */
static int region_access(const char *name)
{
	int fd = region_open(name, O_RDONLY), access = -ENOENT;
	char path[64], text[1024];
	ssize_t n;

	if (fd < 0)
		return fd;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	n = slurp(path, text, sizeof(text));
	close(fd);
	if (n < 0)
		return n;
	if (strstr(text, "\nmshare-access:\tr\n"))
		access = 1;
	else if (strstr(text, "\nmshare-access:\trw\n"))
		access = 2;
	return access;
}

PEER_FN(pf_region_access)
{
	PEER_UNUSED();
	return region_access((char *)a);
}

/* It depends on the region, not on how the file is opened, nor on its mode. */
TEST_F(mshare, fdinfo_access)
{
	struct peer p;

	ASSERT_EQ(0, peer_start(&p));
	ASSERT_EQ(0, sys_mshare(self->name, self->addr, self->len,
				O_CREAT | O_RDONLY, 0666));
	EXPECT_EQ(1, region_access(self->name));
	EXPECT_EQ(1, peer_call(&p, pf_region_access, (long)self->name));
	ASSERT_EQ(0, sys_mshare_unlink(self->name));
	ASSERT_EQ(0, do_munmap(self->addr, self->len));

	MAKE_REGION();
	EXPECT_EQ(2, region_access(self->name));
	ASSERT_EQ(0, chmod(self->path, 0444));
	ASSERT_EQ(0, peer_call(&p, pf_become_nobody));
	EXPECT_EQ(2, peer_call(&p, pf_region_access, (long)self->name));
	ATTACH_PEER(&p, O_RDONLY);
	EXPECT_EQ(2, region_access(self->name));
	EXPECT_EQ(0, peer_stop(&p));
}

/* A child counts like its parent. Return: -ECHILD if it does not. */
PEER_FN(pf_writers_with_child)
{
	int status;
	pid_t pid;

	PEER_UNUSED();
	pid = fork();
	if (!pid)
		_exit(region_figure((char *)a, "mshare-sharers") != b ||
		      region_figure((char *)a, "mshare-writers") != c);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -errno;
	return status ? -ECHILD : 0;
}

TEST_F(mshare, fdinfo_writers)
{
	struct peer ro, rw;
	long name = (long)self->name;

	ASSERT_EQ(0, peer_start(&ro));
	ASSERT_EQ(0, peer_start(&rw));
	MAKE_REGION();
	EXPECT_EQ(1, region_figure(self->name, "mshare-writers"));
	ATTACH_PEER(&ro, O_RDONLY);
	EXPECT_EQ(2, region_figure(self->name, "mshare-sharers"));
	EXPECT_EQ(1, region_figure(self->name, "mshare-writers"));
	EXPECT_EQ(0, peer_call(&ro, pf_writers_with_child, name, 3, 1));
	/* A request to write does not turn a reader into a writer. */
	EXPECT_EQ(-EACCES, peer_call(&ro, pf_mprotect, (long)self->addr, PAGE,
				     RW));
	EXPECT_EQ(1, region_figure(self->name, "mshare-writers"));
	ATTACH_PEER(&rw, O_RDWR);
	EXPECT_EQ(2, region_figure(self->name, "mshare-writers"));
	EXPECT_EQ(0, peer_call(&rw, pf_writers_with_child, name, 4, 3));
	ASSERT_EQ(0, do_munmap(self->addr, self->len));
	EXPECT_EQ(1, region_figure(self->name, "mshare-writers"));
	EXPECT_EQ(0, peer_stop(&rw));
	EXPECT_EQ(1, region_figure(self->name, "mshare-sharers"));
	EXPECT_EQ(0, region_figure(self->name, "mshare-writers"));
	/* A donation does not count the creator twice. */
	ASSERT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_EQ(0, peer_stop(&ro));
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
	MAKE_REGION();
	EXPECT_EQ(1, region_figure(self->name, "mshare-writers"));
}

PEER_FN(pf_fork_store)
{
	int status;
	pid_t pid;

	PEER_UNUSED();
	pid = fork();
	if (!pid) {
		/* A child of the child, too. */
		if (probe_store((void *)a, 1) != SIGSEGV)
			_exit(1);
		pid = fork();
		if (!pid)
			_exit(probe_store((void *)a, 1) != SIGSEGV);
		if (waitpid(pid, &status, 0) != pid || status)
			_exit(2);
		if (do_mprotect((void *)a, PAGE, RW) != -EACCES)
			_exit(3);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -errno;
	return status;
}

TEST_F(mshare, ro_inherited_by_fork)
{
	struct peer p;

	MAKE_RO_SHARED();
	EXPECT_EQ(0, peer_call(&p, pf_fork_store, (long)self->addr));
	EXPECT_EQ(0, peer_call(&p, pf_fork_store,
			       (long)self->addr + 8 * PAGE));
	EXPECT_EQ(KEEP, load(self->addr));
	EXPECT_EQ(0, peer_stop(&p));
}

static bool pti_on(void)
{
	static char buf[65536];
	char *flags;

	if (slurp("/proc/cpuinfo", buf, sizeof(buf)) <= 0)
		return false;
	flags = strstr(buf, "flags");
	if (flags && strchr(flags, '\n'))
		*strchr(flags, '\n') = 0;
	return flags && strstr(flags, " pti");
}

/* With isolation, user mode runs on another copy of the entry. */
TEST_F(mshare, ro_with_pti_on)
{
	struct peer p;
	int i;

	if (!pti_on())
		SKIP(return, "page-table isolation is off");
	MAKE_RO_SHARED();
	for (i = 0; i < 20; i++) {
		EXPECT_EQ(0, peer_call(&p, pf_fork_store, (long)self->addr));
		EXPECT_EQ(SIGSEGV, peer_store(&p, self->addr, 1));
		EXPECT_EQ(0, probe_store(self->addr, KEEP + i));
		EXPECT_EQ(KEEP + i, peer_see(&p, self->addr));
	}
	/* After the window is gone, it is gone from both copies. */
	EXPECT_EQ(0, peer_call(&p, pf_unlink, (long)self->name));
	EXPECT_EQ(SIGSEGV, peer_load(&p, self->addr));
	EXPECT_EQ(SEGV_MAPERR, p.fault.code);
	EXPECT_EQ(0, peer_stop(&p));
}

int main(int argc, char **argv)
{
	return mshare_main(argc, argv);
}
