// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare: memory policies and page placement in a region on a machine with two
 * nodes. "numa=fake=2" on the kernel's command line splits one node in two.
 */
#include "mshare_helpers.h"

#define NODE_DIR "/sys/devices/system/node/"
#define MPOL_DEFAULT	0
#define MPOL_BIND	2
#define MPOL_INTERLEAVE	3
#define MPOL_F_NODE	1
#define MPOL_F_ADDR	2
#define MPOL_MF_STRICT	1
#define MPOL_MF_MOVE	2
#ifndef __NR_set_mempolicy_home_node
#define __NR_set_mempolicy_home_node 450
#endif

static bool two_nodes(void)
{
	char buf[4096], *p;

	if (slurp(NODE_DIR "node1/meminfo", buf, sizeof(buf)) <= 0)
		return false;
	p = strstr(buf, "MemTotal:");
	return p && atol(p + 9) > 128 * 1024;
}

static long do_mbind(void *addr, long len, int mode, unsigned long nodes,
		     unsigned int flags)
{
	return neg(syscall(__NR_mbind, addr, len, mode, &nodes, 64UL, flags));
}

PEER_FN(pf_mbind)
{
	PEER_UNUSED();
	return do_mbind((void *)a, b, c, d, e);
}

/*
 * The node for the caller's faults if no policy says otherwise; negative: any.
 */
PEER_FN(pf_task_policy)
{
	unsigned long mask = 1UL << (a < 0 ? 0 : a);

	PEER_UNUSED();
	if (a < 0)
		return neg(syscall(__NR_set_mempolicy, MPOL_DEFAULT, NULL, 0));
	return neg(syscall(__NR_set_mempolicy, MPOL_BIND, &mask, 64UL));
}

PEER_FN(pf_touch)
{
	long off;

	PEER_UNUSED();
	for (off = 0; off < b; off += PAGE)
		if (probe_store((void *)(a + off), off + 1))
			return -EFAULT;
	return 0;
}

/* The node of a page of a process, or a negative errno, by move_pages(). */
static long node_in(pid_t pid, void *addr)
{
	int status = -12345;
	long ret;

	ret = neg(syscall(__NR_move_pages, pid, 1UL, &addr, NULL, &status, 0));
	return ret ? ret : status;
}

PEER_FN(pf_node)
{
	PEER_UNUSED();
	return node_in(0, (void *)a);
}

PEER_FN(pf_move)
{
	void *page = (void *)a;
	int node = b, status = -12345;
	long ret;

	PEER_UNUSED();
	ret = neg(syscall(__NR_move_pages, 0, 1UL, &page, &node, &status,
			  MPOL_MF_MOVE));
	return ret ? ret : status;
}

/* The number of pages of a range that are on the wrong node. */
static long not_in(int node, char *addr, long len)
{
	long off, wrong = 0;

	for (off = 0; off < len; off += PAGE)
		wrong += node_in(0, addr + off) != node;
	return wrong;
}

static long wrong_data(char *addr, long len)
{
	long off, wrong = 0;

	for (off = 0; off < len; off += PAGE)
		wrong += load(addr + off) != off + 1;
	return wrong;
}

/* A policy that one sharer sets applies to all sharers. */
TEST_F(mshare, mbind_then_touch_by_other)
{
	const long len = 2 * MEG;
	long a = (long)self->addr;
	struct peer p;
	int node;

	if (!two_nodes())
		SKIP(return, "needs two nodes");
	MAKE_SHARED();
	for (node = 0; node < 2; node++, a += len) {
		ASSERT_EQ(0, map_anon((void *)a, len, RW));
		ASSERT_EQ(0, do_mbind((void *)a, len, MPOL_BIND, 1UL << node,
				      0));
		/*
		 * The own policy of the process that touches a page differs,
		 * and does not apply.
		 */
		ASSERT_EQ(0, peer_call(&p, pf_task_policy, !node));
		ASSERT_EQ(0, peer_call(&p, pf_touch, a, len));
		EXPECT_EQ(0, not_in(node, (char *)a, len));
		EXPECT_EQ(node, peer_call(&p, pf_node, a));
		EXPECT_EQ(node, node_in(p.pid, (void *)a));
	}
	EXPECT_EQ(0, peer_stop(&p));
}

TEST_F(mshare, mbind_move_existing)
{
	const long len = 5 * MEG;
	struct peer p;

	if (!two_nodes())
		SKIP(return, "needs two nodes");
	MAKE_SHARED();
	ASSERT_EQ(0, map_anon(self->addr, len, RW));
	/* A huge page moves as a whole, whether or not it crosses a border. */
	do_madvise(self->addr, len, MADV_NOHUGEPAGE);
	ASSERT_EQ(0, pf_task_policy(0, 0, 0, 0, 0, 0));
	ASSERT_EQ(0, pf_touch((long)self->addr, len, 0, 0, 0, 0));
	ASSERT_EQ(0, pf_task_policy(-1, 0, 0, 0, 0, 0));
	EXPECT_EQ(0, not_in(0, self->addr, len));

	/* A part of the region, with borders in the middle of a piece. */
	ASSERT_EQ(0, peer_call(&p, pf_mbind, (long)self->addr + MEG, 3 * MEG,
			       MPOL_BIND, 2, MPOL_MF_MOVE | MPOL_MF_STRICT));
	EXPECT_EQ(0, not_in(0, self->addr, MEG));
	EXPECT_EQ(0, not_in(1, self->addr + MEG, 3 * MEG));
	EXPECT_EQ(0, not_in(0, self->addr + 4 * MEG, MEG));
	EXPECT_EQ(0, wrong_data(self->addr, len));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

TEST_F(mshare, strict_eio_changes_nothing)
{
	const long len = MEG;
	int mode = -1;

	if (!two_nodes())
		SKIP(return, "needs two nodes");
	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, len, RW));
	ASSERT_EQ(0, pf_task_policy(0, 0, 0, 0, 0, 0));
	ASSERT_EQ(0, pf_touch((long)self->addr, len, 0, 0, 0, 0));
	ASSERT_EQ(0, pf_task_policy(-1, 0, 0, 0, 0, 0));
	EXPECT_EQ(-EIO, do_mbind(self->addr, len, MPOL_BIND, 2,
				 MPOL_MF_STRICT));
	ASSERT_EQ(0, neg(syscall(__NR_get_mempolicy, &mode, NULL, 0UL,
				 self->addr, MPOL_F_ADDR)));
	EXPECT_EQ(MPOL_DEFAULT, mode);
	EXPECT_EQ(0, not_in(0, self->addr, len));
	EXPECT_EQ(0, do_mbind(self->addr, len, MPOL_BIND, 1, MPOL_MF_STRICT));
	/* Holes, as in any process. */
	EXPECT_EQ(-EFAULT, do_mbind(self->addr, 2 * len, MPOL_BIND, 1, 0));
	EXPECT_EQ(-EFAULT, do_mbind(self->addr + len, len, MPOL_BIND, 1, 0));
	EXPECT_EQ(0, do_mbind(self->addr, 2 * len, MPOL_DEFAULT, 0, 0));
}

TEST_F(mshare, interleave_by_address)
{
	const long len = 64 * PAGE;
	long i, n[2] = {};
	struct peer p;

	if (!two_nodes())
		SKIP(return, "needs two nodes");
	MAKE_SHARED();
	ASSERT_EQ(0, map_shmem(self->addr, len, RW));
	ASSERT_EQ(0, do_mbind(self->addr, len, MPOL_INTERLEAVE, 3, 0));
	/* Each half is touched by another sharer. */
	ASSERT_EQ(0, pf_touch((long)self->addr, len / 2, 0, 0, 0, 0));
	ASSERT_EQ(0, peer_call(&p, pf_touch, (long)self->addr + len / 2,
			       len / 2));
	for (i = 0; i < len; i += PAGE) {
		long node = node_in(0, self->addr + i);

		ASSERT_TRUE(node == 0 || node == 1);
		n[node]++;
		if (i)
			EXPECT_EQ(1, node ^ node_in(0, self->addr + i - PAGE));
	}
	EXPECT_EQ(n[0], n[1]);
	EXPECT_EQ(0, peer_stop(&p));
}

TEST_F(mshare, get_mempolicy_addr_and_node)
{
	unsigned long nodes = 0;
	int mode = -1;
	struct peer p;

	if (!two_nodes())
		SKIP(return, "needs two nodes");
	ASSERT_EQ(0, peer_start(&p));
	MAKE_REGION();
	ATTACH_PEER(&p, O_RDWR);
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
	ASSERT_EQ(0, peer_call(&p, pf_mbind, (long)self->addr, MEG, MPOL_BIND,
			       2, 0));
	ASSERT_EQ(0, neg(syscall(__NR_get_mempolicy, &mode, &nodes, 64UL,
				 self->addr, MPOL_F_ADDR)));
	EXPECT_EQ(MPOL_BIND, mode);
	EXPECT_EQ(2UL, nodes);
	ASSERT_EQ(0, probe_store(self->addr, 1));
	ASSERT_EQ(0, neg(syscall(__NR_get_mempolicy, &mode, NULL, 0UL,
				 self->addr, MPOL_F_ADDR | MPOL_F_NODE)));
	EXPECT_EQ(1, mode);
	EXPECT_EQ(-EFAULT, neg(syscall(__NR_get_mempolicy, &mode, NULL, 0UL,
				       self->addr + MEG, MPOL_F_ADDR)));
	EXPECT_EQ(0, peer_stop(&p));
}

TEST_F(mshare, home_node)
{
	unsigned long before = (unsigned long)self->addr;
	struct peer p;

	if (!two_nodes())
		SKIP(return, "needs two nodes");
	MAKE_SHARED();
	/* The caller's own memory must not be changed. */
	ASSERT_EQ(0, map_anon((char *)before - MEG, MEG, RW));
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
	ASSERT_EQ(0, do_mbind((char *)before - MEG, MEG, MPOL_BIND, 3, 0));
	ASSERT_EQ(0, do_mbind(self->addr, MEG, MPOL_BIND, 3, 0));
	EXPECT_EQ(0, neg(syscall(__NR_set_mempolicy_home_node, self->addr, MEG,
				 1UL, 0UL)));
	ASSERT_EQ(0, peer_call(&p, pf_touch, (long)self->addr, MEG));
	EXPECT_EQ(0, not_in(1, self->addr, MEG));
	/* Without a policy that could have a home node. */
	ASSERT_EQ(0, do_mbind(self->addr, MEG, MPOL_INTERLEAVE, 3, 0));
	EXPECT_EQ(-EOPNOTSUPP, neg(syscall(__NR_set_mempolicy_home_node,
					   self->addr, MEG, 0UL, 0UL)));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

TEST_F(mshare, move_pages_query_and_move)
{
	long a = (long)self->addr;
	struct peer p;

	if (!two_nodes())
		SKIP(return, "needs two nodes");
	MAKE_SHARED();
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
	ASSERT_EQ(0, pf_task_policy(0, 0, 0, 0, 0, 0));
	ASSERT_EQ(0, pf_touch(a, 4 * PAGE, 0, 0, 0, 0));
	ASSERT_EQ(0, pf_task_policy(-1, 0, 0, 0, 0, 0));
	EXPECT_EQ(0, node_in(0, self->addr));
	EXPECT_EQ(0, node_in(p.pid, self->addr));
	EXPECT_EQ(-ENOENT, node_in(0, self->addr + 8 * PAGE));
	EXPECT_EQ(-EFAULT, node_in(0, self->addr + MEG));

	EXPECT_EQ(1, peer_call(&p, pf_move, a, 1));
	EXPECT_EQ(1, node_in(0, self->addr));
	EXPECT_EQ(0, node_in(0, self->addr + PAGE));
	EXPECT_EQ(0, wrong_data(self->addr, 4 * PAGE));
	EXPECT_EQ(-ENOENT, peer_call(&p, pf_move, a + 8 * PAGE, 1));
	EXPECT_EQ(-EFAULT, peer_call(&p, pf_move, a + MEG, 1));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

/* A read-only sharer may query where pages are, but not move them. */
TEST_F(mshare, ro_cannot_move_eacces)
{
	long a = (long)self->addr;
	struct peer p;

	if (!two_nodes())
		SKIP(return, "needs two nodes");
	ASSERT_EQ(0, peer_start(&p));
	MAKE_REGION();
	ATTACH_PEER(&p, O_RDONLY);
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
	ASSERT_EQ(0, do_mbind(self->addr, MEG, MPOL_BIND, 1, 0));
	ASSERT_EQ(0, probe_store(self->addr, 1));
	EXPECT_EQ(0, peer_call(&p, pf_node, a));
	EXPECT_EQ(-EACCES, peer_call(&p, pf_move, a, 1));
	EXPECT_EQ(-EACCES, peer_call(&p, pf_mbind, a, MEG, MPOL_BIND, 2,
				     MPOL_MF_MOVE));
	EXPECT_EQ(0, node_in(0, self->addr));
	EXPECT_EQ(0, peer_stop(&p));
}

/* The line of numa_maps that begins with an address; empty if there is none. */
static char *numa_line(char *addr)
{
	static char buf[65536];
	char start[32], *line;

	if (slurp("/proc/self/numa_maps", buf, sizeof(buf)) <= 0)
		return buf + strlen(buf);
	snprintf(start, sizeof(start), "%08lx ", (unsigned long)addr);
	line = strstr(buf, start);
	if (!line)
		return buf + strlen(buf);
	*strchr(line, '\n') = 0;
	return line;
}

/* The number after a word such as "N1=" in the line, or 0. */
static long numa_figure(char *addr, const char *word)
{
	char *p = strstr(numa_line(addr), word);

	return p ? atol(p + strlen(word)) : 0;
}

TEST_F(mshare, numa_maps_counts)
{
	const long pages = 3 * MEG / PAGE;

	if (!two_nodes())
		SKIP(return, "needs two nodes");
	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, 3 * MEG, RW));
	ASSERT_EQ(0, map_shmem(self->addr + 8 * MEG, MEG, RW));
	ASSERT_EQ(0, do_mbind(self->addr, 3 * MEG, MPOL_BIND, 1, 0));
	ASSERT_EQ(0, do_mbind(self->addr + 8 * MEG, MEG, MPOL_BIND, 2, 0));
	ASSERT_EQ(0, pf_touch((long)self->addr, 3 * MEG, 0, 0, 0, 0));
	ASSERT_EQ(0, pf_touch((long)self->addr + 8 * MEG, MEG, 0, 0, 0, 0));
	EXPECT_EQ(pages, numa_figure(self->addr, " N0="));
	EXPECT_EQ((long)(MEG / PAGE), numa_figure(self->addr, " N1="));
	EXPECT_EQ(pages, numa_figure(self->addr, " anon="));
	EXPECT_NE(NULL, strstr(numa_line(self->addr), " mixed "));
	ASSERT_EQ(0, do_munmap(self->addr + 8 * MEG, MEG));
	EXPECT_EQ(0, numa_figure(self->addr, " N1="));
	EXPECT_NE(NULL, strstr(numa_line(self->addr), " bind:0 "));
}

static long ns_to_read_numa_maps(void)
{
	struct timespec from, to;
	long ns, best = 0;
	int i;

	for (i = 0; i < 5; i++) {
		clock_gettime(CLOCK_MONOTONIC, &from);
		numa_line(0);
		clock_gettime(CLOCK_MONOTONIC, &to);
		ns = (to.tv_sec - from.tv_sec) * 1000000000 + to.tv_nsec -
		     from.tv_nsec;
		if (!i || ns < best)
			best = ns;
	}
	return best;
}

/*
 * A region can reserve all of its address space. Readers of numa_maps hold the
 * sharer's lock, so they must not look at each 2 MiB of it: these are 524,288.
 */
TEST_F(mshare, numa_maps_skips_what_is_empty)
{
	char *at = (char *)(40 * UNIT);
	long without;

	ASSERT_EQ(0, sys_mshare(self->name, at, 2 * UNIT,
				O_CREAT | O_EXCL | O_RDWR, 0600));
	without = ns_to_read_numa_maps();
	ASSERT_EQ(0, map_fd(at, 2 * UNIT, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS |
			    MAP_NORESERVE, -1, 0));
	EXPECT_GT(100 * without, ns_to_read_numa_maps());
	ASSERT_EQ(0, do_munmap(at, 2 * UNIT));
}

TEST_F(mshare, border_einval)
{
	if (!two_nodes())
		SKIP(return, "needs two nodes");
	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
	ASSERT_EQ(0, map_anon(self->addr - MEG, MEG, RW));
	EXPECT_EQ(-EINVAL, do_mbind(self->addr - MEG, 2 * MEG, MPOL_BIND, 1,
				    0));
	EXPECT_EQ(-EINVAL, neg(syscall(__NR_set_mempolicy_home_node,
				       self->addr - MEG, 2 * MEG, 0UL, 0UL)));
}

/*
 * The policy of a shared object belongs to the object, wherever it is mapped.
 */
TEST_F(mshare, shared_policy_seen_outside)
{
	int fd = memfd_create("policy", MFD_CLOEXEC), mode = -1;
	char *out;

	if (!two_nodes())
		SKIP(return, "needs two nodes");
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, neg(ftruncate(fd, MEG)));
	out = mmap(NULL, MEG, RW, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, out);
	MAKE_REGION();
	ASSERT_EQ(0, map_fd(self->addr, MEG, RW, MAP_SHARED, fd, 0));
	ASSERT_EQ(0, do_mbind(self->addr, MEG, MPOL_BIND, 2, 0));
	ASSERT_EQ(0, neg(syscall(__NR_get_mempolicy, &mode, NULL, 0UL, out,
				 MPOL_F_ADDR)));
	EXPECT_EQ(MPOL_BIND, mode);
	ASSERT_EQ(0, probe_store(out, 1));
	EXPECT_EQ(1, node_in(0, out));
	close(fd);
}

PEER_FN(pf_touch_for)
{
	long end = now_ms() + c, wrong = 0;

	PEER_UNUSED();
	while (now_ms() < end)
		wrong += pf_touch(a, b, 0, 0, 0, 0) != 0;
	return wrong;
}

/* Move pages back and forth while sharers write: no store is lost. */
TEST_F(mshare, mbind_under_faulting_sharers)
{
	const long len = 6 * MEG, ms = scaled(3000, 6000);
	struct peer_req req = { .fn = pf_touch_for };
	long end, rounds = 0;
	struct peer p;

	if (!two_nodes())
		SKIP(return, "needs two nodes");
	MAKE_SHARED();
	ASSERT_EQ(0, map_anon(self->addr, len, RW));
	req.arg[0] = (long)self->addr;
	req.arg[1] = len;
	req.arg[2] = ms;
	ASSERT_EQ(0, peer_post(&p, &req));
	for (end = now_ms() + ms; now_ms() < end || rounds < 2; rounds++)
		ASSERT_EQ(0, do_mbind(self->addr, len, MPOL_BIND,
				      1UL << (rounds & 1), MPOL_MF_MOVE));
	EXPECT_EQ(0, peer_wait(&p));
	EXPECT_EQ(0, wrong_data(self->addr, len));
	/* The last policy applies to all pages that could be moved. */
	ASSERT_EQ(0, do_mbind(self->addr, len, MPOL_BIND, 2, MPOL_MF_MOVE |
			      MPOL_MF_STRICT));
	EXPECT_EQ(0, not_in(1, self->addr, len));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

/* ---------------------------------------------------------------- cpusets */

#define CPUSET	"/sys/fs/cgroup/mshare-kst-cpuset"

/* A group of processes that may use node 0 only. False if there are none. */
static bool cpuset_begin(void)
{
	spew("/sys/fs/cgroup/cgroup.subtree_control", "+cpuset");
	rmdir(CPUSET);
	return !mkdir(CPUSET, 0755) && !spew(CPUSET "/cpuset.mems", "0");
}

static bool cpuset_enter(pid_t pid)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", pid);
	return !spew(CPUSET "/cgroup.procs", text);
}

/*
 * The region's policy wants node 1, where the process that touches the page may
 * not allocate: it gets memory of its own node, and no OOM killer comes.
 */
TEST_F(mshare, disjoint_cpuset)
{
	const long len = 2 * MEG;
	long a = (long)self->addr;
	struct peer p;

	if (!two_nodes())
		SKIP(return, "needs two nodes");
	if (!cpuset_begin())
		SKIP(return, "no cpusets");
	MAKE_SHARED();
	ASSERT_TRUE(cpuset_enter(p.pid));
	ASSERT_EQ(0, map_anon((void *)a, 2 * len, RW));
	ASSERT_EQ(0, do_mbind((void *)a, 2 * len, MPOL_BIND, 2, 0));
	ASSERT_EQ(0, peer_call(&p, pf_touch, a, len));
	EXPECT_EQ(0, not_in(0, (char *)a, len));
	/* Other processes follow the policy as before. */
	ASSERT_EQ(0, pf_touch(a + len, len, 0, 0, 0, 0));
	EXPECT_EQ(0, not_in(1, (char *)a + len, len));
	EXPECT_EQ(0, peer_stop(&p));
	EXPECT_TRUE(WAIT_FOR(!rmdir(CPUSET), 10000));
}

PEER_FN(pf_own_pages)
{
	char *at = mmap(NULL, a, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	PEER_UNUSED();
	return at == MAP_FAILED || pf_touch((long)at, a, 0, 0, 0, 0) ? -ENOMEM :
								      (long)at;
}

/* A cpuset that changes moves the memory of its processes, but no region's. */
TEST_F(mshare, cpuset_change_leaves_region)
{
	const long len = 2 * MEG;
	long a = (long)self->addr, own;
	struct peer p;

	if (!two_nodes())
		SKIP(return, "needs two nodes");
	if (!cpuset_begin())
		SKIP(return, "no cpusets");
	MAKE_SHARED();
	ASSERT_TRUE(cpuset_enter(p.pid));
	ASSERT_EQ(0, map_anon((void *)a, len, RW));
	ASSERT_EQ(0, peer_call(&p, pf_touch, a, len));
	own = peer_call(&p, pf_own_pages, len);
	ASSERT_LT(0, own);
	EXPECT_EQ(0, not_in(0, (char *)a, len));
	EXPECT_EQ(0, node_in(p.pid, (void *)own));
	ASSERT_EQ(0, spew(CPUSET "/cpuset.mems", "1"));
	EXPECT_TRUE(WAIT_FOR(node_in(p.pid, (void *)own) == 1, 10000));
	EXPECT_EQ(0, not_in(0, (char *)a, len));
	EXPECT_EQ(1, peer_see(&p, (void *)a));
	/* What it touches from now on is on the new node. */
	ASSERT_EQ(0, map_anon((void *)(a + len), len, RW));
	ASSERT_EQ(0, peer_call(&p, pf_touch, a + len, len));
	EXPECT_EQ(0, not_in(1, (char *)a + len, len));
	EXPECT_EQ(0, peer_stop(&p));
	EXPECT_TRUE(WAIT_FOR(!rmdir(CPUSET), 10000));
}

int main(int argc, char **argv)
{
	return mshare_main(argc, argv);
}
