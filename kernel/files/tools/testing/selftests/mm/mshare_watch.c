// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare: what is visible of a region and its windows from outside, and which
 * processes an access control list admits.
 */
#include "mshare_helpers.h"
#include "mshare_spin.h"
#include "mshare_trace.h"

#include <grp.h>
#include <linux/perf_event.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/xattr.h>

/* ------------------------------------------------------------------- poll */

/* The current result of poll() for fd, or a negative errno. */
static int polled(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };
	int n = poll(&p, 1, 0);

	return n < 0 ? -errno : p.revents;
}

/* The same, but after at most ms milliseconds of waiting. */
static int polled_within(int fd, short events, int ms)
{
	struct pollfd p = { .fd = fd, .events = events };
	int n = poll(&p, 1, ms);

	return n < 0 ? -errno : p.revents;
}

TEST_F(mshare, poll_sharers_changed)
{
	struct peer p;
	int fd, other;

	ASSERT_EQ(0, peer_start(&p));
	MAKE_REGION();
	fd = open(self->path, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, fd);

	/* Nothing new since the file was opened; reading never blocks. */
	EXPECT_EQ(0, polled(fd, POLLPRI));
	EXPECT_EQ(POLLIN, polled(fd, POLLIN));

	/* A new sharer is reported once per open file. */
	other = open(self->path, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, other);
	ATTACH_PEER(&p, O_RDONLY);
	EXPECT_EQ(POLLPRI, polled_within(fd, POLLPRI, 10000));
	EXPECT_EQ(0, polled(fd, POLLPRI));
	EXPECT_EQ(POLLPRI, polled(other, POLLPRI));
	EXPECT_EQ(0, polled(other, POLLPRI));

	/* A sharer detaches, and another is killed. */
	EXPECT_EQ(0, peer_munmap(&p, self->addr, self->len));
	EXPECT_EQ(POLLPRI, polled_within(fd, POLLPRI, 10000));
	ATTACH_PEER(&p, O_RDWR);
	EXPECT_EQ(POLLPRI, polled_within(fd, POLLPRI, 10000));
	EXPECT_EQ(SIGKILL, peer_kill(&p));
	EXPECT_EQ(POLLPRI, polled_within(fd, POLLPRI, 10000));
	EXPECT_EQ(0, polled(fd, POLLPRI));

	/* A sharer that attached just before open() is not reported. */
	close(other);
	EXPECT_EQ(0, do_munmap(self->addr, self->len));
	ASSERT_EQ(0, sys_mshare(self->name, self->addr, self->len, O_RDWR, 0));
	other = open(self->path, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, other);
	nap_ms(100);
	EXPECT_EQ(0, polled(other, POLLPRI));
	EXPECT_EQ(POLLPRI, polled_within(fd, POLLPRI, 10000));

	/* A mapping in the region does not change the number of sharers. */
	EXPECT_EQ(0, map_anon(self->addr, MEG, RW));
	EXPECT_EQ(0, polled(fd, POLLPRI));
	close(other);
	close(fd);
}

/* A reader of a region must not keep processes busy that poll its file. */
TEST_F(mshare, poll_wakes_at_a_rate)
{
	struct pollfd pfd = { .events = POLLPRI };
	long begin, end, came = 0, told = 0;
	int status, stop[2];
	pid_t pid;
	char c;

	MAKE_REGION();
	ASSERT_EQ(0, pipe2(stop, O_NONBLOCK));
	pfd.fd = open(self->path, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, pfd.fd);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(stop[1]);
		do_munmap(self->addr, self->len);
		while (read(stop[0], &c, 1) < 0) {
			if (sys_mshare(self->name, self->addr, self->len,
				       O_RDONLY, 0) ||
			    do_munmap(self->addr, self->len))
				_exit(255);
			came++;
		}
		/* In tens, as far as an exit status can hold them. */
		_exit(came / 10 > 250 ? 250 : came / 10);
	}
	close(stop[0]);
	begin = now_ms();
	while (now_ms() - begin < 2000)
		told += poll(&pfd, 1, 100) == 1;
	end = now_ms();
	close(stop[1]);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_TRUE(WIFEXITED(status));
	ASSERT_NE(255, WEXITSTATUS(status));
	TH_LOG("%ld wake-ups in %ld ms, at least %d windows", told,
	       end - begin, 10 * WEXITSTATUS(status));
	EXPECT_LT(0, told);
	EXPECT_GE((end - begin) / 20 + 3, told);
	/* The last change is reported, too. */
	poll(&pfd, 1, 100);
	EXPECT_EQ(0, poll(&pfd, 1, 100));
	close(pfd.fd);
	/* A slow machine makes so few windows that each may be reported. */
	if (10 * WEXITSTATUS(status) <= (end - begin) / 20)
		SKIP(return, "too few windows came and went to measure a rate");
}

/* A child is a sharer from its start to its end. */
TEST_F(mshare, poll_wakes_for_fork)
{
	struct epoll_event ev = { .events = EPOLLPRI };
	int fd, ep, hold[2], status;
	char c = 0;
	pid_t pid;

	MAKE_REGION();
	fd = open(self->path, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, fd);
	ep = epoll_create1(EPOLL_CLOEXEC);
	ASSERT_LE(0, ep);
	ASSERT_EQ(0, epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
	EXPECT_EQ(0, epoll_wait(ep, &ev, 1, 0));

	ASSERT_EQ(0, pipe(hold));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(hold[1]);
		_exit(read(hold[0], &c, 1) != 0);
	}
	close(hold[0]);
	EXPECT_EQ(1, epoll_wait(ep, &ev, 1, 10000));
	EXPECT_EQ((unsigned int)EPOLLPRI, ev.events);
	EXPECT_EQ(0, epoll_wait(ep, &ev, 1, 0));

	close(hold[1]);
	EXPECT_EQ(1, epoll_wait(ep, &ev, 1, 10000));
	EXPECT_EQ((unsigned int)EPOLLPRI, ev.events);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	close(ep);
	close(fd);
}

TEST_F(mshare, poll_hup_without_name_and_sharers)
{
	struct peer p;
	int fd;

	MAKE_SHARED();
	fd = open(self->path, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, fd);

	/*
	 * The name is removed while sharers stay; then they go, one after the
	 * other.
	 */
	EXPECT_EQ(0, unlink(self->path));
	EXPECT_EQ(0, polled(fd, 0));
	EXPECT_EQ(0, do_munmap(self->addr, self->len));
	EXPECT_EQ(0, polled(fd, 0));
	EXPECT_EQ(0, peer_munmap(&p, self->addr, self->len));
	EXPECT_EQ(POLLHUP, polled(fd, 0));
	EXPECT_TRUE(WAIT_FOR(polled(fd, POLLPRI) == (POLLHUP | POLLPRI),
			     10000));
	close(fd);

	/*
	 * The other way round: the sharers go first, then the name is removed.
	 */
	MAKE_REGION();
	fd = open(self->path, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, do_munmap(self->addr, self->len));
	EXPECT_EQ(0, polled(fd, 0));
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_EQ(POLLHUP, polled(fd, 0));
	close(fd);
}

/* The removal of the name wakes poll(). */
TEST_F(mshare, poll_sleeper_sees_hup)
{
	int fd, status;
	pid_t pid;

	MAKE_REGION();
	fd = open(self->path, O_RDONLY);
	ASSERT_LE(0, fd);
	EXPECT_EQ(0, do_munmap(self->addr, self->len));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		_exit(polled_within(fd, 0, 30000) != POLLHUP);
	nap_ms(scaled(50, 300));
	EXPECT_EQ(0, unlink(self->path));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	close(fd);
}

/* ------------------------------------------------------------------ smaps */

TEST_F(mshare, smaps_rss_and_pss_of_region)
{
	const long anon = 8 * 1024, shmem = 4 * 1024;
	pid_t me = getpid();
	struct peer p, q;
	long rollup;

	ASSERT_EQ(0, peer_start(&p));
	ASSERT_EQ(0, peer_start(&q));
	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, 8 * MEG, RW));
	ASSERT_EQ(0, map_shmem(self->addr + 64 * MEG, 16 * MEG, RW));
	EXPECT_EQ(0, smaps_kb(me, self->addr, "Rss"));
	EXPECT_EQ(0, smaps_kb(me, self->addr, "Pss"));

	/* Everything counts for the region, and everything for this sharer. */
	ASSERT_EQ(0, do_madvise(self->addr, 8 * MEG, MADV_POPULATE_WRITE));
	ASSERT_EQ(0, do_madvise(self->addr + 64 * MEG, 4 * MEG,
				MADV_POPULATE_WRITE));
	EXPECT_EQ(anon + shmem, smaps_kb(me, self->addr, "Rss"));
	EXPECT_EQ(anon + shmem, smaps_kb(me, self->addr, "Pss"));
	EXPECT_EQ(anon, smaps_kb(me, self->addr, "Anonymous"));
	EXPECT_EQ(anon + shmem, smaps_kb(me, self->addr, "Private_Dirty"));
	EXPECT_EQ(0, smaps_kb(me, self->addr, "Shared_Dirty"));
	EXPECT_EQ(0, smaps_kb(me, self->addr, "Swap"));

	/* For each of three sharers, Rss is all of it and Pss a third. */
	ATTACH_PEER(&p, O_RDWR);
	ATTACH_PEER(&q, O_RDONLY);
	EXPECT_EQ(anon + shmem, smaps_kb(me, self->addr, "Rss"));
	EXPECT_EQ((anon + shmem) / 3, smaps_kb(me, self->addr, "Pss"));
	EXPECT_EQ((anon + shmem) / 3, smaps_kb(q.pid, self->addr, "Pss"));
	EXPECT_EQ(anon + shmem, smaps_kb(q.pid, self->addr, "Rss"));
	EXPECT_EQ(0, smaps_kb(me, self->addr, "Private_Dirty"));
	EXPECT_EQ(anon + shmem, smaps_kb(me, self->addr, "Shared_Dirty"));
	EXPECT_EQ(0, smaps_kb(me, self->addr, "Private_Clean"));

	/* The sum of Pss over all windows is the memory that exists. */
	EXPECT_EQ(anon + shmem, smaps_kb(me, self->addr, "Pss") +
				smaps_kb(p.pid, self->addr, "Pss") +
				smaps_kb(q.pid, self->addr, "Pss"));
	rollup = figure("/proc/self/smaps_rollup", "Rss");
	EXPECT_LE(anon + shmem, rollup);
	EXPECT_GT(anon + shmem + 65536, rollup);

	/* The counters of the process do not change. */
	EXPECT_GT(anon, self_status("VmRSS"));

	EXPECT_EQ(0, peer_stop(&p));
	EXPECT_EQ(0, peer_stop(&q));
	EXPECT_EQ(anon + shmem, smaps_kb(me, self->addr, "Pss"));
	EXPECT_EQ(0, do_munmap(self->addr, 8 * MEG));
	EXPECT_EQ(shmem, smaps_kb(me, self->addr, "Rss"));
}

/* ------------------------------------------------------------------- ACLs */

#define ACL_ACCESS	"system.posix_acl_access"
#define ACL_DEFAULT	"system.posix_acl_default"

/* As in include/uapi/linux/posix_acl_xattr.h, little-endian. */
struct acl_entry {
	__u16 tag;
	__u16 perm;
	__u32 id;
};

struct acl {
	__u32 version;
	struct acl_entry e[8];
};

enum {
	TAG_USER_OBJ = 1,
	TAG_USER = 2,
	TAG_GROUP_OBJ = 4,
	TAG_GROUP = 8,
	TAG_MASK = 16,
	TAG_OTHER = 32,
};

#define ACL(...)							\
	((struct acl){ .version = 2, .e = { __VA_ARGS__ } })

/* The last entry in use is the one for others. */
static size_t acl_size(const struct acl *acl)
{
	int n = 0;

	while (acl->e[n++].tag != TAG_OTHER)
		;
	return sizeof(acl->version) + n * sizeof(acl->e[0]);
}

static long acl_set(const char *path, const char *which, struct acl acl)
{
	return neg(setxattr(path, which, &acl, acl_size(&acl), 0));
}

PEER_FN(pf_become)
{
	PEER_UNUSED();
	if (setgroups(0, NULL) || setresgid(b, b, b) || setresuid(a, a, a))
		return -errno;
	return 0;
}

PEER_FN(pf_open)
{
	int fd;

	PEER_UNUSED();
	fd = open((const char *)a, b | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

PEER_FN(pf_acl_clear)
{
	PEER_UNUSED();
	return neg(removexattr((const char *)a, ACL_ACCESS));
}

/*
 * mshare() follows the list as open() does: each entry, the mask, and others.
 */
TEST_F(mshare, acl_decides_who_attaches)
{
	struct peer reader, writer, masked, stranger, *p;
	struct {
		struct peer *peer;
		long uid, read, write;
	} want[] = {
		{ &reader, 1001, 0, -EACCES },
		{ &writer, 1002, 0, 0 },
		{ &masked, 1003, -EACCES, -EACCES },
		{ &stranger, 1004, -EACCES, -EACCES },
	};
	struct stat st;
	struct acl acl;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(want); i++) {
		ASSERT_EQ(0, peer_start(want[i].peer));
		ASSERT_EQ(0, peer_call(want[i].peer, pf_become, want[i].uid,
				       want[i].uid));
	}
	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));

	/* "masked" has execute permission, which does not admit a process. */
	acl = ACL({ TAG_USER_OBJ, 6, -1 }, { TAG_USER, 4, 1001 },
		  { TAG_USER, 6, 1002 }, { TAG_USER, 1, 1003 },
		  { TAG_GROUP_OBJ, 0, -1 }, { TAG_MASK, 7, -1 },
		  { TAG_OTHER, 0, -1 });
	ASSERT_EQ(0, acl_set(self->path, ACL_ACCESS, acl));
	for (i = 0; i < ARRAY_SIZE(want); i++) {
		p = want[i].peer;
		EXPECT_EQ(want[i].read, peer_call(p, pf_open, (long)self->path,
						  O_RDONLY));
		EXPECT_EQ(want[i].write, peer_call(p, pf_open, (long)self->path,
						   O_RDWR));
		EXPECT_EQ(want[i].write,
			  peer_call(p, pf_mshare, (long)self->name,
				    (long)self->addr, self->len, O_RDWR));
		if (!want[i].write) {
			EXPECT_EQ(0, peer_store(p, self->addr, 7));
			EXPECT_EQ(0, peer_munmap(p, self->addr, self->len));
		}
		EXPECT_EQ(want[i].read,
			  peer_call(p, pf_mshare, (long)self->name,
				    (long)self->addr, self->len, O_RDONLY));
	}
	EXPECT_EQ(7, load(self->addr));

	/*
	 * Sharers stay attached; the mask, which chmod sets, restricts the
	 * others.
	 */
	EXPECT_EQ(0, chmod(self->path, 0600));
	EXPECT_EQ(7, peer_see(&reader, self->addr));
	EXPECT_EQ(0, peer_munmap(&reader, self->addr, self->len));
	EXPECT_EQ(-EACCES, peer_call(&reader, pf_mshare, (long)self->name,
				     (long)self->addr, self->len, O_RDONLY));
	EXPECT_EQ(0, chmod(self->path, 0660));
	EXPECT_EQ(0, peer_call(&reader, pf_mshare, (long)self->name,
			       (long)self->addr, self->len, O_RDONLY));

	/* Only the owner may change it; without a list the mode applies. */
	EXPECT_EQ(-EPERM, peer_call(&writer, pf_acl_clear, (long)self->path));
	EXPECT_EQ(0, neg(removexattr(self->path, ACL_ACCESS)));
	EXPECT_EQ(0, stat(self->path, &st));
	EXPECT_EQ(0, (int)st.st_mode & 0007);
	EXPECT_EQ(0, peer_munmap(&reader, self->addr, self->len));
	EXPECT_EQ(-EACCES, peer_call(&reader, pf_mshare, (long)self->name,
				     (long)self->addr, self->len, O_RDONLY));
}

TEST_F(mshare, acl_listed_and_read_back)
{
	struct acl acl = ACL({ TAG_USER_OBJ, 6, -1 }, { TAG_USER, 4, 1001 },
			     { TAG_GROUP_OBJ, 0, -1 }, { TAG_MASK, 4, -1 },
			     { TAG_OTHER, 0, -1 });
	struct acl back = {};
	char list[64] = "";

	MAKE_REGION();
	EXPECT_EQ(0, listxattr(self->path, list, sizeof(list)));
	EXPECT_EQ(-ENODATA, neg(getxattr(self->path, ACL_ACCESS, &back,
					 sizeof(back))));
	ASSERT_EQ(0, acl_set(self->path, ACL_ACCESS, acl));
	EXPECT_EQ((long)sizeof(ACL_ACCESS), listxattr(self->path, NULL, 0));
	EXPECT_EQ((long)sizeof(ACL_ACCESS), listxattr(self->path, list,
						      sizeof(list)));
	EXPECT_STREQ(ACL_ACCESS, list);
	EXPECT_EQ(-ERANGE, neg(listxattr(self->path, list, 4)));
	EXPECT_EQ((long)acl_size(&acl), neg(getxattr(self->path, ACL_ACCESS,
						     &back, sizeof(back))));
	EXPECT_EQ(0, memcmp(&acl, &back, acl_size(&acl)));

	/* A region's file has no default list, and no other attributes. */
	EXPECT_EQ(-EACCES, acl_set(self->path, ACL_DEFAULT, acl));
	EXPECT_EQ(-EOPNOTSUPP, neg(setxattr(self->path, "user.x", "y", 1, 0)));
	EXPECT_EQ(-EOPNOTSUPP, neg(setxattr(self->path, "trusted.x", "y", 1,
					    0)));
}

PEER_FN(pf_umask)
{
	PEER_UNUSED();
	umask(a);
	return 0;
}

/*
 * A new region inherits the directory's default list, and umask does not apply.
 */
TEST_F(mshare, acl_default_of_the_root)
{
	struct acl list = ACL({ TAG_USER_OBJ, 7, -1 }, { TAG_USER, 6, 1001 },
			      { TAG_GROUP_OBJ, 4, -1 }, { TAG_MASK, 7, -1 },
			      { TAG_OTHER, 0, -1 });
	struct acl back = {};
	struct stat st;
	struct peer p;

	ASSERT_EQ(0, peer_start(&p));
	ASSERT_EQ(0, peer_call(&p, pf_umask, 077));
	ASSERT_EQ(0, acl_set(MSHARE_DIR, ACL_DEFAULT, list));
	EXPECT_EQ(0, peer_call(&p, pf_mshare, (long)self->name,
			       (long)self->addr, self->len,
			       O_CREAT | O_RDWR, 0660));
	EXPECT_EQ(0, stat(self->path, &st));
	EXPECT_EQ(0660, (int)st.st_mode & 07777);
	EXPECT_LT(0, getxattr(self->path, ACL_ACCESS, &back, sizeof(back)));
	EXPECT_EQ(TAG_USER, back.e[1].tag);
	EXPECT_EQ(1001U, back.e[1].id);
	EXPECT_EQ(6, back.e[1].perm);
	EXPECT_EQ(0, removexattr(MSHARE_DIR, ACL_DEFAULT));
	EXPECT_EQ(0, peer_munmap(&p, self->addr, self->len));
	EXPECT_EQ(0, peer_call(&p, pf_unlink, (long)self->name));

	/* Without a default list it does. */
	EXPECT_EQ(0, peer_call(&p, pf_mshare, (long)self->name,
			       (long)self->addr, self->len,
			       O_CREAT | O_RDWR, 0666));
	EXPECT_EQ(0, stat(self->path, &st));
	EXPECT_EQ(0600, (int)st.st_mode & 07777);
	EXPECT_EQ(-ENODATA, neg(getxattr(self->path, ACL_ACCESS, &back,
					 sizeof(back))));
	EXPECT_EQ(0, peer_munmap(&p, self->addr, self->len));
	EXPECT_EQ(0, peer_call(&p, pf_unlink, (long)self->name));
}

/* An empty list is not shown, and a mount option works as chmod(). */
TEST_F(mshare, acl_of_the_root_itself)
{
	struct acl list = ACL({ TAG_USER_OBJ, 7, -1 }, { TAG_USER, 7, 1001 },
			      { TAG_GROUP_OBJ, 5, -1 }, { TAG_MASK, 7, -1 },
			      { TAG_OTHER, 5, -1 });
	char names[64];
	struct peer p;

	EXPECT_EQ(0, listxattr(MSHARE_DIR, names, sizeof(names)));
	ASSERT_EQ(0, peer_start(&p));
	ASSERT_EQ(0, peer_call(&p, pf_become, 1001, 1001));
	ASSERT_EQ(0, acl_set(MSHARE_DIR, ACL_ACCESS, list));
	EXPECT_EQ((long)sizeof(ACL_ACCESS),
		  listxattr(MSHARE_DIR, names, sizeof(names)));
	EXPECT_EQ(0, peer_call(&p, pf_mshare, (long)self->name,
			       (long)self->addr, self->len,
			       O_CREAT | O_RDWR, 0600));
	EXPECT_EQ(0, peer_munmap(&p, self->addr, self->len));
	EXPECT_EQ(0, peer_call(&p, pf_unlink, (long)self->name));

	EXPECT_EQ(0, neg(mount(NULL, MSHARE_DIR, NULL, MS_REMOUNT,
			       "mode=0755")));
	EXPECT_EQ(-EACCES, peer_call(&p, pf_mshare, (long)self->name,
				     (long)self->addr, self->len,
				     O_CREAT | O_RDWR, 0600));
	EXPECT_EQ(0, neg(removexattr(MSHARE_DIR, ACL_ACCESS)));
	EXPECT_EQ(0, listxattr(MSHARE_DIR, names, sizeof(names)));
	EXPECT_EQ(0, chmod(MSHARE_DIR, 0755));
	EXPECT_EQ(0, peer_stop(&p));
}

/* ------------------------------------------------------------ tracepoints */

TEST_F(mshare, tracepoints_tell_attach_fault_flush_detach)
{
	char region[160], range[192];
	struct peer p;

	if (!trace_have())
		SKIP(return, "the kernel has no tracepoints");
	ASSERT_EQ(0, trace_begin());

	snprintf(region, sizeof(region), "region=%s ", self->name);
	snprintf(range, sizeof(range), "region=%s range=%#lx-%#lx ", self->name,
		 (unsigned long)self->addr, (unsigned long)self->addr + PAGE);
	MAKE_SHARED();
	ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
	EXPECT_EQ(0, peer_store(&p, self->addr, 1));
	EXPECT_EQ(0, do_mprotect(self->addr, PAGE, PROT_READ));
	EXPECT_EQ(0, peer_munmap(&p, self->addr, self->len));
	EXPECT_EQ(0, do_munmap(self->addr, self->len));
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_EQ(0, trace_end());

	EXPECT_EQ(2, traced("mshare_attach:", region));
	EXPECT_EQ(2, traced("mshare_detach:", region));
	EXPECT_EQ(1, traced("mshare_fault:", region));
	EXPECT_EQ(1, traced("mshare_flush:", range));
	EXPECT_EQ(1, traced("mshare_attach:", "access=rw sharers=2"));
	EXPECT_EQ(0, trace_clear());
}

#define NR_SLEEPERS 3

/* In a region with one page of memory: which process runs on which CPU. */
struct asleep {
	int cpu[2];			/* creator's and sleepers' CPUs */
	struct peer p[NR_SLEEPERS];	/* sharers that have run there */
	pid_t busy;			/* process that runs there now */
};

/* Another process runs there, so that no sharer's tables stay loaded. */
static void keep_busy(struct asleep *s, char *addr, size_t len)
{
	s->busy = fork();
	if (!s->busy) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		munmap(addr, len);
		pin_to(s->cpu[1]);
		for (;;)
			;
	}
	nap_ms(scaled(50, 200));
}

#define ASLEEP_BEGIN(sleepers)						\
do {									\
	struct asleep *__s = (sleepers);				\
	size_t __i;							\
									\
	ASSERT_EQ(0, pin_to(__s->cpu[0]));				\
	for (__i = 0; __i < NR_SLEEPERS; __i++) {			\
		ASSERT_EQ(0, peer_start(&__s->p[__i]));			\
		ASSERT_EQ(0, peer_call(&__s->p[__i], pf_pin_to,		\
				       __s->cpu[1]));			\
	}								\
	MAKE_REGION();							\
	ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));			\
	for (__i = 0; __i < NR_SLEEPERS; __i++) {			\
		ATTACH_PEER(&__s->p[__i], O_RDWR);			\
		ASSERT_EQ(0, peer_store(&__s->p[__i], self->addr, __i)); \
	}								\
	keep_busy(__s, self->addr, self->len);				\
	ASSERT_LT(0, __s->busy);					\
} while (0)

#define ASLEEP_END(sleepers)						\
do {									\
	struct asleep *__s = (sleepers);				\
	size_t __i;							\
									\
	kill(__s->busy, SIGKILL);					\
	waitpid(__s->busy, NULL, 0);					\
	EXPECT_EQ(0, debug_check());					\
	for (__i = 0; __i < NR_SLEEPERS; __i++)				\
		EXPECT_EQ(0, peer_stop(&__s->p[__i]));			\
} while (0)

/*
 * A flush interrupts the CPUs that run a sharer, and once more the CPUs that
 * have run one since they were last interrupted. It does not interrupt CPUs
 * where sharers sleep.
 */
TEST_F(mshare, flush_spares_cpus_without_sharers)
{
	char region[160];
	struct asleep s;
	size_t i;

	if (!trace_have())
		SKIP(return, "the kernel has no tracepoints");
	if (!two_cpus(s.cpu))
		SKIP(return, "needs two CPUs");
	snprintf(region, sizeof(region), "region=%s ", self->name);
	ASLEEP_BEGIN(&s);

	ASSERT_EQ(0, trace_begin());
	ASSERT_EQ(0, do_mprotect(self->addr, PAGE, PROT_READ));
	for (i = 0; i < 10; i++)
		ASSERT_EQ(0, do_mprotect(self->addr, PAGE, i % 2 ? PROT_READ :
					 PROT_NONE));
	EXPECT_EQ(0, trace_end());
	EXPECT_EQ(1, traced("mshare_flush:", region) -
		     traced("sharers=4 cpus=1", region))
		TH_LOG("interrupted: both %d times", traced("cpus=2", region));
	EXPECT_EQ(1, traced("sharers=4 cpus=2", region));

	/*
	 * A sharer that wakes up there makes the next flush interrupt it again,
	 * as it must.
	 */
	ASSERT_EQ(0, do_mprotect(self->addr, PAGE, RW));
	ASSERT_EQ(0, peer_store(&s.p[1], self->addr, 77));
	ASSERT_EQ(0, do_mprotect(self->addr, PAGE, PROT_NONE));
	EXPECT_EQ(SIGSEGV, peer_load(&s.p[1], self->addr));
	EXPECT_EQ(0, trace_clear());
	ASLEEP_END(&s);
}

/* How often other CPUs made a CPU flush its TLB, or -1. */
static long tlb_interrupts(int cpu)
{
	char *buf = malloc(1 << 16), *p;
	long n = -1;

	if (buf && slurp("/proc/interrupts", buf, 1 << 16) > 0) {
		p = strstr(buf, "TLB:");
		if (p)
			for (p += 4; cpu >= 0; cpu--)
				n = strtol(p, &p, 10);
	}
	free(buf);
	return n;
}

/*
 * Reclaim skips a page that is still being written.  First add up the counters
 * of the CPUs.
 */
static bool under_writeback(void)
{
	spew("/proc/sys/vm/stat_refresh", "1");
	return vmstat_count("nr_writeback") > 0;
}

/* The end of a batch of reclaim does the same. */
TEST_F(mshare, reclaim_spares_cpus_without_sharers)
{
	/*
	 * Some pages are always on their way to a list and cannot be reclaimed.
	 */
	const size_t len = 64 * PAGE;
	char *at = self->addr + 2 * MEG;
	const int rounds = 20;
	struct asleep s;
	long asked, out;
	size_t off;
	int i, swap;

	if (!two_cpus(s.cpu))
		SKIP(return, "needs two CPUs");
	swap = swap_begin();
	if (swap < 0)
		SKIP(return, "no swap: %s", strerror(-swap));
	ASLEEP_BEGIN(&s);
	ASSERT_EQ(0, map_anon(at, len, RW));

	out = vmstat_count("pswpout");
	asked = tlb_interrupts(s.cpu[1]);
	ASSERT_LE(0, asked);
	for (i = 0; i < rounds; i++) {
		for (off = 0; off < len; off += PAGE)
			ASSERT_EQ(0, probe_store(at + off, i));
		ASSERT_EQ(0, do_madvise(at, len, MADV_PAGEOUT));
		ASSERT_TRUE(WAIT_FOR(!under_writeback(), 20000));
	}
	asked = tlb_interrupts(s.cpu[1]) - asked;
	out = vmstat_count("pswpout") - out;
	TH_LOG("%ld pages to swap, the CPU was interrupted %ld times", out, asked);
	EXPECT_LE(rounds * 8, out);
	EXPECT_LE(1, asked);
	EXPECT_GE(rounds / 5, asked);

	/* A sharer that wakes up there sees the current contents. */
	EXPECT_EQ(rounds - 1, peer_see(&s.p[0], at));
	ASLEEP_END(&s);
	if (swap)
		EXPECT_EQ(0, swap_end());
}

/* ------------------------------------------------------------------- perf */

/* The page size that the last sample shows for an address, or -errno. */
static long sampled_page_size(struct perf_event_mmap_page *ring, void *addr)
{
	char *data = (char *)ring + ring->data_offset;
	__u64 tail = ring->data_tail, head;
	long size = -ENOENT;

	head = __atomic_load_n(&ring->data_head, __ATOMIC_ACQUIRE);
	while (tail < head) {
		struct {
			struct perf_event_header header;
			__u64 addr, page_size;
		} *sample = (void *)(data + tail % ring->data_size);

		/*
		 * All records have the same size, and the ring holds many of
		 * them.
		 */
		if (sample->header.type == PERF_RECORD_SAMPLE &&
		    sample->addr == (unsigned long)addr)
			size = sample->page_size;
		tail += sample->header.size;
	}
	__atomic_store_n(&ring->data_tail, head, __ATOMIC_RELEASE);
	return size;
}

/* perf walks page tables itself, without a lock, also those of a window. */
TEST_F(mshare, perf_tells_page_size)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE, .size = sizeof(attr),
		.config = PERF_COUNT_SW_PAGE_FAULTS_MIN, .sample_period = 1,
		.sample_type = PERF_SAMPLE_ADDR | PERF_SAMPLE_DATA_PAGE_SIZE,
	};
	char *small = self->addr + PAGE, *large = self->addr + 2 * MEG;
	struct perf_event_mmap_page *ring;
	int fd;

	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, 4 * MEG, RW));
	fd = syscall(__NR_perf_event_open, &attr, 0, -1, -1,
		     PERF_FLAG_FD_CLOEXEC);
	if (fd < 0)
		SKIP(return, "no perf events: %s", strerror(errno));
	ring = mmap(NULL, 9 * PAGE, RW, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, (void *)ring);

	ASSERT_EQ(0, probe_store(small, 1));
	EXPECT_EQ((long)PAGE, sampled_page_size(ring, small));
	if (!do_madvise(large, 2 * MEG, MADV_HUGEPAGE)) {
		ASSERT_EQ(0, probe_store(large, 1));
		EXPECT_EQ((long)(2 * MEG), sampled_page_size(ring, large));
	}
	EXPECT_EQ(0, debug_check());
	munmap(ring, 9 * PAGE);
	close(fd);
}

int main(int argc, char **argv)
{
	return mshare_main(argc, argv);
}
