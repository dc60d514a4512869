// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare: a region is attached by mmap() of its file. An open descriptor gives
 * the right to do so, whichever way the process got it.
 */
#include "mshare_helpers.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/socket.h>

#ifndef MAP_SYNC
#define MAP_SYNC 0x80000
#endif

/* 0, or a negative errno; -ERANGE for any other address. */
static long attach_fd(int fd, void *addr, size_t len, int prot, int flags)
{
	void *p = mmap(addr, len, prot, flags, fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	peer_val = (long)p;
	return 0;
}

PEER_FN(pf_attach_path)
{
	int fd = open((const char *)a, e | O_CLOEXEC);
	long ret;

	PEER_UNUSED();
	if (fd < 0)
		return -errno;
	ret = attach_fd(fd, (void *)b, c, d, MAP_SHARED);
	close(fd);
	return ret;
}

TEST_F(mshare, rw_and_ro_by_descriptor)
{
	long a = (long)self->addr, len = self->len;
	struct peer rw, ro;
	char *line;

	ASSERT_EQ(0, peer_start(&rw));
	ASSERT_EQ(0, peer_start(&ro));
	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
	ASSERT_EQ(0, probe_store(self->addr, 5));
	/*
	 * The address is the region's, with no hint and with a hint elsewhere.
	 */
	ASSERT_EQ(0, peer_call(&rw, pf_attach_path, (long)self->path, 0, len,
			       RW, O_RDWR));
	EXPECT_EQ(a, rw.val);
	ASSERT_EQ(0, peer_call(&ro, pf_attach_path, (long)self->path,
			       a + 2 * len, len, PROT_READ, O_RDWR));
	EXPECT_EQ(a, ro.val);
	EXPECT_EQ(3, region_figure(self->name, "mshare-sharers"));
	EXPECT_EQ(2, region_figure(self->name, "mshare-writers"));
	EXPECT_EQ(5, peer_see(&rw, self->addr));
	EXPECT_EQ(5, peer_see(&ro, self->addr));
	EXPECT_EQ(0, peer_store(&rw, self->addr, 6));
	EXPECT_EQ(6, load(self->addr));
	/*
	 * The file was opened for both; mmap() decides the access of the
	 * window.
	 */
	EXPECT_EQ(SIGSEGV, peer_store(&ro, self->addr, 7));
	EXPECT_EQ(-EACCES, peer_call(&ro, pf_map_anon, a + MEG, PAGE, RW));
	EXPECT_EQ(0, peer_call(&rw, pf_map_anon, a + MEG, PAGE, RW));
	EXPECT_EQ(0, peer_store(&rw, self->addr + MEG, 8));
	EXPECT_EQ(8, peer_see(&ro, self->addr + MEG));
	line = self_maps_line(self->addr);
	ASSERT_NE(NULL, line);
	EXPECT_NE(NULL, strstr(line, self->path));
	/* One detaches with munmap(), the other by name. */
	EXPECT_EQ(0, peer_munmap(&rw, self->addr, self->len));
	EXPECT_EQ(0, peer_call(&ro, pf_unlink, (long)self->name));
	EXPECT_EQ(1, region_figure(self->name, "mshare-sharers"));
	EXPECT_EQ(0, access(self->path, F_OK));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&rw));
	EXPECT_EQ(0, peer_stop(&ro));
}

/* A child inherits what its parent attached in this way, until it exits. */
TEST_F(mshare, fork_of_sharer_by_descriptor)
{
	int fd, status;
	pid_t pid;

	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
	ASSERT_EQ(0, do_munmap(self->addr, self->len));
	fd = region_open(self->name, O_RDWR);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, attach_fd(fd, NULL, self->len, RW, MAP_SHARED));
	close(fd);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(probe_store(self->addr, 9));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(9, load(self->addr));
	EXPECT_EQ(1, region_figure(self->name, "mshare-sharers"));
}

struct fd_case {
	const char *what;
	long ret;
	int open;
	int prot;
	int flags;
	long addr;		/* from the region's; -1: none given */
	long len;		/* more than the region's */
	off_t off;
};

TEST_F(mshare, what_mmap_may_be_given)
{
	static const struct fd_case cases[] = {
		{ "private", -EINVAL, O_RDWR, RW, MAP_PRIVATE, 0, 0, 0 },
		{ "fixed", 0, O_RDWR, RW, MAP_SHARED | MAP_FIXED, 0, 0, 0 },
		{ "fixed, no replace", 0, O_RDWR, RW,
		  MAP_SHARED | MAP_FIXED_NOREPLACE, 0, 0, 0 },
		{ "validated", 0, O_RDWR, RW, MAP_SHARED_VALIDATE, 0, 0, 0 },
		{ "fixed elsewhere", -EINVAL, O_RDWR, RW,
		  MAP_SHARED | MAP_FIXED, 4096, 0, 0 },
		{ "fixed, no replace, elsewhere", -EINVAL, O_RDWR, RW,
		  MAP_SHARED | MAP_FIXED_NOREPLACE, -4096, 0, 0 },
		{ "hint nearby", 0, O_RDWR, RW, MAP_SHARED, 4096, 0, 0 },
		{ "no address", 0, O_RDWR, RW, MAP_SHARED, -1, 0, 0 },
		{ "a page less", -EINVAL, O_RDWR, RW, MAP_SHARED, 0, -4096, 0 },
		{ "a byte less", -EINVAL, O_RDWR, RW, MAP_SHARED, 0, -1, 0 },
		{ "a page more", -EINVAL, O_RDWR, RW, MAP_SHARED, 0, 4096, 0 },
		{ "an offset", -EINVAL, O_RDWR, RW, MAP_SHARED, 0, 0, 4096 },
		{ "nothing", -EINVAL, O_RDWR, PROT_NONE, MAP_SHARED, 0, 0, 0 },
		{ "write only", -EINVAL, O_RDWR, PROT_WRITE, MAP_SHARED, 0,
		  0, 0 },
		{ "to execute", -EPERM, O_RDWR, RW | PROT_EXEC, MAP_SHARED, 0,
		  0, 0 },
		{ "write, opened to read", -EACCES, O_RDONLY, RW, MAP_SHARED,
		  0, 0, 0 },
		{ "read, opened to read", 0, O_RDONLY, PROT_READ, MAP_SHARED,
		  0, 0, 0 },
		{ "locked", -EOPNOTSUPP, O_RDWR, RW, MAP_SHARED | MAP_LOCKED,
		  0, 0, 0 },
		{ "growing", -EINVAL, O_RDWR, RW, MAP_SHARED | MAP_GROWSDOWN,
		  0, 0, 0 },
		{ "huge", -EINVAL, O_RDWR, RW, MAP_SHARED | MAP_HUGETLB,
		  0, 0, 0 },
		{ "synchronous", -EOPNOTSUPP, O_RDWR, RW,
		  MAP_SHARED_VALIDATE | MAP_SYNC, 0, 0, 0 },
		{ "flags that a window ignores", 0, O_RDWR, RW,
		  MAP_SHARED | MAP_POPULATE | MAP_NORESERVE | MAP_STACK, 0, 0,
		  0 },
		{ "a descriptor with O_PATH", -EBADF, O_PATH, PROT_READ, MAP_SHARED, 0, 0,
		  0 },
	};
	unsigned int i;

	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
	ASSERT_EQ(0, probe_store(self->addr, 5));
	ASSERT_EQ(0, do_munmap(self->addr, self->len));
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct fd_case *c = &cases[i];
		char *at = c->addr == -1 ? NULL : self->addr + c->addr;
		int fd = region_open(self->name, c->open);
		void *p;
		long ret;

		ASSERT_LE(0, fd);
		p = mmap(at, self->len + c->len, c->prot, c->flags, fd, c->off);
		ret = p == MAP_FAILED ? -errno : 0;
		EXPECT_EQ(c->ret, ret)
			TH_LOG("%s", c->what);
		if (!ret) {
			EXPECT_EQ((void *)self->addr, p);
			EXPECT_EQ(5, load(self->addr));
			EXPECT_EQ(0, do_munmap(self->addr, self->len));
		}
		EXPECT_EQ(NULL, self_maps_line(self->addr))
			TH_LOG("%s", c->what);
		EXPECT_EQ(0, region_figure(self->name, "mshare-sharers"));
		close(fd);
	}
}

/* mmap() with MAP_FIXED replaces what is mapped, except by a region. */
TEST_F(mshare, nothing_is_replaced)
{
	static const int flags[] = {
		MAP_SHARED, MAP_SHARED | MAP_FIXED,
		MAP_SHARED | MAP_FIXED_NOREPLACE,
	};
	char *at = self->addr + 3 * MEG;
	unsigned int i;
	int fd;

	MAKE_REGION();
	fd = region_open(self->name, O_RDWR);
	ASSERT_LE(0, fd);
	/* It is already a sharer. */
	for (i = 0; i < ARRAY_SIZE(flags); i++)
		EXPECT_EQ(-EEXIST, attach_fd(fd, self->addr, self->len, RW,
					     flags[i]));
	EXPECT_EQ(1, region_figure(self->name, "mshare-sharers"));
	ASSERT_EQ(0, do_munmap(self->addr, self->len));
	/* The process has private memory there. */
	ASSERT_EQ(0, map_anon(at, PAGE, RW));
	ASSERT_EQ(0, probe_store(at, 7));
	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		EXPECT_EQ(-EEXIST, attach_fd(fd, self->addr, self->len, RW,
					     flags[i]));
		EXPECT_EQ(7, load(at));
	}
	ASSERT_EQ(0, do_munmap(at, PAGE));
	EXPECT_EQ(0, attach_fd(fd, self->addr, self->len, RW, MAP_SHARED));
	EXPECT_EQ(SIGBUS, probe_byte(at));
	close(fd);
}

/*
 * A region that is read-only for everyone cannot be written to, even with
 * root's descriptor.
 */
TEST_F(mshare, region_read_only_for_everyone)
{
	int fd;

	ASSERT_EQ(0, sys_mshare(self->name, self->addr, self->len,
				O_CREAT | O_EXCL | O_RDONLY, 0666));
	ASSERT_EQ(0, do_munmap(self->addr, self->len));
	fd = region_open(self->name, O_RDWR);
	ASSERT_LE(0, fd);
	EXPECT_EQ(-EACCES, attach_fd(fd, NULL, self->len, RW, MAP_SHARED));
	EXPECT_EQ(0, attach_fd(fd, NULL, self->len, PROT_READ, MAP_SHARED));
	close(fd);
}

/* The mode is checked when the file is opened, as with any file. */
TEST_F(mshare, open_file_outlives_its_mode)
{
	int fd, status;
	pid_t pid;

	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
	ASSERT_EQ(0, probe_store(self->addr, 11));
	ASSERT_EQ(0, do_munmap(self->addr, self->len));
	fd = region_open(self->name, O_RDWR);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, chmod(self->path, 0));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (setresgid(65534, 65534, 65534) ||
		    setresuid(65534, 65534, 65534))
			_exit(1);
		if (sys_mshare(self->name, self->addr, self->len, O_RDONLY,
			       0) != -EACCES)
			_exit(2);
		if (attach_fd(fd, NULL, self->len, RW, MAP_SHARED))
			_exit(3);
		_exit(load(self->addr) == 11 ? 0 : 4);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	close(fd);
}

/* An open file does not keep the contents, so attaching fails. */
TEST_F(mshare, attach_by_held_file_enoent)
{
	int fd;

	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
	fd = region_open(self->name, O_RDWR);
	ASSERT_LE(0, fd);
	/* Without a name but with a sharer, another process can attach. */
	ASSERT_EQ(0, unlink(self->path));
	EXPECT_EQ(-EEXIST, attach_fd(fd, NULL, self->len, RW, MAP_SHARED));
	ASSERT_EQ(0, do_munmap(self->addr, self->len));
	EXPECT_EQ(-ENOENT, attach_fd(fd, NULL, self->len, RW, MAP_SHARED));
	EXPECT_EQ(-ENOENT, attach_fd(fd, NULL, self->len, PROT_READ,
				     MAP_SHARED));
	EXPECT_EQ(NULL, self_maps_line(self->addr));
	close(fd);
}

/* ------------------------------------------- descriptors that are passed on */

static int send_fd(int sock, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = "", byte = 'f';
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	return sendmsg(sock, &msg, 0) == 1 ? 0 : -errno;
}

static int receive_fd(int sock)
{
	char control[CMSG_SPACE(sizeof(int))], byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	int fd;

	if (recvmsg(sock, &msg, 0) != 1 || !CMSG_FIRSTHDR(&msg))
		return -EPROTO;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(int));
	return fd;
}

/* In namespaces of its own, without privileges and without msharefs. */
static int become_contained(void)
{
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS))
		return -errno;
	if (umount2(MSHARE_DIR, MNT_DETACH) && errno != EINVAL && errno != EPERM)
		return -errno;
	/* Mounts that came with the namespace are locked: hide msharefs. */
	if (msharefs_mounted() && mount("none", MSHARE_DIR, "tmpfs", 0, NULL))
		return -errno;
	return 0;
}

TEST_F(mshare, passed_into_a_container)
{
	int fd, sock[2], status;
	pid_t pid;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sock));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(sock[0]);
		if (become_contained())
			_exit(77);
		fd = receive_fd(sock[1]);
		if (fd < 0)
			_exit(1);
		if (sys_mshare(self->name, self->addr, self->len, O_RDWR, 0) !=
		    -ENODEV)
			_exit(2);
		if (attach_fd(fd, NULL, self->len, RW, MAP_SHARED))
			_exit(3);
		close(fd);
		if (load(self->addr) != 12 || probe_store(self->addr, 13))
			_exit(4);
		/* Detaching does not need msharefs either, only the name. */
		if (sys_mshare_unlink("no-such-region") != -ENODEV)
			_exit(5);
		if (sys_mshare_unlink(self->name))
			_exit(6);
		if (probe_byte(self->addr) != SIGSEGV)
			_exit(7);
		_exit(0);
	}
	close(sock[1]);
	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
	ASSERT_EQ(0, probe_store(self->addr, 12));
	fd = region_open(self->name, O_RDWR);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, send_fd(sock[0], fd));
	close(fd);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	if (status == 77 << 8)
		SKIP(return, "no user namespaces");
	EXPECT_EQ(0, status)
		TH_LOG("step %d", status >> 8);
	EXPECT_EQ(13, load(self->addr));
	/* The name still exists, because the process could not remove it. */
	EXPECT_EQ(0, access(self->path, F_OK));
}

/*
 * Only what every dynamic program needs, and mmap() and munmap() of a window.
 */
static int only_old_calls(void)
{
	static struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, __NR_mshare, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	static const struct sock_fprog prog = { ARRAY_SIZE(code), code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	return neg(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog));
}

TEST_F(mshare, behind_a_filter_that_knows_no_mshare)
{
	int fd, status;
	pid_t pid;

	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
	ASSERT_EQ(0, probe_store(self->addr, 14));
	fd = region_open(self->name, O_RDONLY);
	ASSERT_LE(0, fd);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		do_munmap(self->addr, self->len);
		if (only_old_calls())
			_exit(77);
		if (sys_mshare(self->name, self->addr, self->len, O_RDONLY,
			       0) != -EPERM)
			_exit(1);
		if (attach_fd(fd, NULL, self->len, PROT_READ, MAP_SHARED))
			_exit(2);
		if (load(self->addr) != 14)
			_exit(3);
		_exit(do_munmap(self->addr, self->len) ? 4 : 0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	if (status == 77 << 8)
		SKIP(return, "no seccomp");
	EXPECT_EQ(0, status)
		TH_LOG("step %d", status >> 8);
	close(fd);
}

/* Either attached, or the region is gone. */
TEST_F(mshare, mmap_vs_unlink_race)
{
	int round, fd, status, gate[2], won = 0;
	pid_t pid;
	char c;

	for (round = 0; round < scaled(300, 60); round++) {
		MAKE_REGION();
		ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
		ASSERT_EQ(0, probe_store(self->addr, round));
		ASSERT_EQ(0, do_munmap(self->addr, self->len));
		fd = region_open(self->name, O_RDWR);
		ASSERT_LE(0, fd);
		ASSERT_EQ(0, pipe(gate));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			long ret;

			close(gate[1]);
			if (read(gate[0], &c, 1))
				_exit(1);
			ret = attach_fd(fd, NULL, self->len, RW, MAP_SHARED);
			if (ret == -ENOENT)
				_exit(100);
			if (ret)
				_exit(2);
			_exit(load(self->addr) == round ? 0 : 3);
		}
		close(fd);
		close(gate[0]);
		close(gate[1]);
		if (round % 3)
			sched_yield();
		ASSERT_EQ(0, unlink(self->path));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_TRUE(status == 0 || status == 100 << 8)
			TH_LOG("round %d: status %x", round, status);
		won += !status;
	}
	TH_LOG("attached %d times of %d", won, round);
	EXPECT_TRUE(WAIT_FOR(debug_regions() <= self->regions_before, 10000));
}

int main(int argc, char **argv)
{
	return mshare_main(argc, argv);
}
