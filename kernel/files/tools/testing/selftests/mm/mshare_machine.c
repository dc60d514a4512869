// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare: what depends on the machine: two memory nodes ("numa=fake=2" splits
 * one node), a disk in memory ("memmap=16M!512M" sets memory aside), and
 * running out of memory.  The last is tried only if MSHARE_MACHINE_OOM is set,
 * because other processes may be killed as well.
 */
#include "mshare_helpers.h"
#include "mshare_trace.h"

#define NODE_DIR "/sys/devices/system/node/"
#define MPOL_BIND 2
#define MPOL_DEFAULT 0

/* A number of a node's meminfo in kB, or -1. */
static long node_kb(int node, const char *key)
{
	char path[128], buf[8192], *p;

	/* The CPUs keep some of the counts for a while before they add them. */
	spew("/proc/sys/vm/stat_refresh", "1");
	snprintf(path, sizeof(path), NODE_DIR "node%d/meminfo", node);
	if (slurp(path, buf, sizeof(buf)) <= 0)
		return -1;
	p = strstr(buf, key);
	return p ? atol(p + strlen(key) + 1) : -1;
}

#define EXPECT_NEAR(want, got, within)					\
	EXPECT_GE((long)(within), labs((want) - (got)))

/* From now on the caller's pages come from this node; negative: from any. */
PEER_FN(pf_bind_node)
{
	unsigned long mask = 1UL << (a < 0 ? 0 : a);

	PEER_UNUSED();
	if (a < 0)
		return neg(syscall(__NR_set_mempolicy, MPOL_DEFAULT, NULL, 0));
	return neg(syscall(__NR_set_mempolicy, MPOL_BIND, &mask, 64UL));
}

PEER_FN(pf_write_all)
{
	long off;

	PEER_UNUSED();
	for (off = 0; off < b; off += PAGE)
		if (probe_store((void *)(a + off), c + off))
			return -EFAULT;
	return 0;
}

/* The number of pages that do not hold what pf_write_all() left in them. */
PEER_FN(pf_wrong_pages)
{
	long off, val, wrong = 0;

	PEER_UNUSED();
	for (off = 0; off < b; off += PAGE)
		wrong += probe_load((void *)(a + off), &val) || val != c + off;
	return wrong;
}

PEER_FN(pf_own_memory)
{
	PEER_UNUSED();
	return neg((long)mmap(NULL, a, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			      0));
}

static bool two_nodes(void)
{
	return !access(NODE_DIR "node1", F_OK) &&
	       node_kb(1, "MemTotal:") > 128 * 1024;
}

/*
 * The sharer that touches a page first decides the node. A sharer that moves
 * its own memory to another node leaves the region's where it was.
 */
TEST_F(mshare, first_toucher_chooses_node)
{
	const long len = 32 * MEG, kb = len / 1024;
	unsigned long from = 1, to = 2;
	long a = (long)self->addr, before[2], own;
	struct peer p;

	if (!two_nodes())
		SKIP(return, "needs two nodes");
	MAKE_SHARED();
	ASSERT_EQ(0, map_anon(self->addr, len, RW));
	before[0] = node_kb(0, "AnonPages:");
	before[1] = node_kb(1, "AnonPages:");
	ASSERT_EQ(0, pf_bind_node(1, 0, 0, 0, 0, 0));
	ASSERT_EQ(0, peer_call(&p, pf_bind_node, 0));
	ASSERT_EQ(0, peer_call(&p, pf_write_all, a, len, 77));
	EXPECT_NEAR(kb, node_kb(0, "AnonPages:") - before[0], 4096);
	EXPECT_NEAR(0, node_kb(1, "AnonPages:") - before[1], 4096);
	/* The creator prefers the other node, but the pages exist already. */
	EXPECT_EQ(0, pf_wrong_pages(a, len, 77, 0, 0, 0));
	EXPECT_NEAR(0, node_kb(1, "AnonPages:") - before[1], 4096);

	/* Memory of the peer's own, to show that there is something to move. */
	own = peer_call(&p, pf_own_memory, 8 * MEG);
	ASSERT_LT(0, own);
	ASSERT_EQ(0, peer_call(&p, pf_write_all, own, 8 * MEG, 1));
	before[1] = node_kb(1, "AnonPages:");
	ASSERT_LE(0, neg(syscall(__NR_migrate_pages, p.pid, 64UL, &from,
				 &to)));
	EXPECT_NEAR(8192, node_kb(1, "AnonPages:") - before[1], 4096);
	EXPECT_EQ(0, peer_call(&p, pf_wrong_pages, own, 8 * MEG, 1));
	EXPECT_EQ(0, peer_call(&p, pf_wrong_pages, a, len, 77));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
	ASSERT_EQ(0, pf_bind_node(-1, 0, 0, 0, 0, 0));
}

#define BALANCING "/proc/sys/kernel/numa_balancing"

/* The node of the caller's CPU. */
PEER_FN(pf_my_node)
{
	unsigned int cpu, node;

	PEER_UNUSED();
	return neg(syscall(__NR_getcpu, &cpu, &node, NULL)) ?: (long)node;
}

/* Reads all of it, over and over, for some milliseconds. */
PEER_FN(pf_read_for)
{
	long end = now_ms() + c, wrong = 0;

	PEER_UNUSED();
	while (now_ms() < end)
		wrong += pf_wrong_pages(a, b, 77, 0, 0, 0);
	return wrong;
}

/*
 * NUMA balancing makes entries inaccessible to learn who uses the pages.  A
 * sharer's scan stops at its windows: its own memory is looked at, and no access
 * to the region ever faults for it.
 */
TEST_F(mshare, balancing_leaves_region_alone)
{
	const long len = 8 * MEG;
	long a = (long)self->addr, own, away, hints, faults;
	char before[16] = "0";
	struct peer p;
	int i;

	if (!two_nodes() || access(BALANCING, W_OK))
		SKIP(return, "needs two nodes and NUMA balancing");
	if (!trace_have())
		SKIP(return, "the kernel has no tracepoints");
	ASSERT_LT(0, slurp(BALANCING, before, sizeof(before)));
	ASSERT_EQ(0, spew(BALANCING, "1"));
	hints = vmstat_count("numa_hint_faults");

	/*
	 * All memory on the node where the peer is not: local memory is not
	 * scanned.
	 */
	MAKE_SHARED();
	ASSERT_EQ(0, map_anon(self->addr, len, RW));
	away = !peer_call(&p, pf_my_node);
	ASSERT_EQ(0, peer_call(&p, pf_bind_node, away));
	ASSERT_EQ(0, peer_call(&p, pf_write_all, a, len, 77));
	own = peer_call(&p, pf_own_memory, len);
	ASSERT_LT(0, own);
	ASSERT_EQ(0, peer_call(&p, pf_write_all, own, len, 77));
	ASSERT_EQ(0, peer_call(&p, pf_bind_node, -1));
	ASSERT_EQ(0, peer_call(&p, pf_wrong_pages, a, len, 77));

	ASSERT_EQ(0, trace_begin());
	for (i = 0; i < 80; i++) {
		EXPECT_EQ(0, peer_call(&p, pf_read_for, own, len, 250));
		EXPECT_EQ(0, peer_call(&p, pf_read_for, a, len, 250));
		if (vmstat_count("numa_hint_faults") > hints + len / PAGE / 2)
			break;
	}
	ASSERT_EQ(0, trace_end());
	faults = traced("mshare_fault:", self->name);
	ASSERT_EQ(0, spew(BALANCING, before));

	EXPECT_LT(hints + len / PAGE / 2, vmstat_count("numa_hint_faults"))
		TH_LOG("too little was scanned to show anything");
	EXPECT_EQ(0, faults);
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

#define KEEP 0x6b656570L
#define PMEM "/dev/pmem0"
#define DAX_DIR "/tmp/mshare-dax"

static bool is_dax(int fd)
{
	struct statx st;

	return !syscall(__NR_statx, fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS,
			&st) && st.stx_attributes & STATX_ATTR_DAX;
}

/*
 * A file without page cache (DAX): its pages are the disk. No region may keep
 * the disk from being removed, so it cannot be mapped. It can be read into the
 * region and written from it.
 */
TEST_F(mshare, dax_refused)
{
	char *at = self->addr + 8 * MEG;
	int fd, kind[] = { MAP_SHARED, MAP_PRIVATE };
	size_t i;

	if (access(PMEM, F_OK))
		SKIP(return, "no " PMEM);
	ASSERT_EQ(0, system("mke2fs -F -b 4096 " PMEM " >/dev/null 2>&1"));
	mkdir(DAX_DIR, 0700);
	ASSERT_EQ(0, neg(mount(PMEM, DAX_DIR, "ext2", 0, "dax")));
	fd = open(DAX_DIR "/file", O_RDWR | O_CREAT, 0600);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, neg(ftruncate(fd, 2 * PAGE)));
	ASSERT_TRUE(is_dax(fd));

	for (i = 0; i < ARRAY_SIZE(kind); i++) {
		/* In a donor's memory. */
		ASSERT_EQ(0, map_fd(at, PAGE, RW, kind[i], fd, 0));
		ASSERT_EQ(0, probe_store(at, KEEP));
		EXPECT_EQ(-EOPNOTSUPP, sys_mshare(self->name, self->addr,
						  self->len, O_CREAT | O_RDWR,
						  0600));
		EXPECT_EQ(KEEP, load(at));
		EXPECT_EQ(0, probe_store(at, KEEP + 1));
		EXPECT_EQ(self->names_before, region_names(false));
		ASSERT_EQ(0, do_munmap(at, PAGE));
	}
	MAKE_REGION();
	ASSERT_EQ(0, map_anon(at, PAGE, RW));
	ASSERT_EQ(0, probe_store(at, KEEP));
	for (i = 0; i < ARRAY_SIZE(kind); i++) {
		EXPECT_EQ(-EOPNOTSUPP, map_fd(at + PAGE, PAGE, RW, kind[i], fd,
					      0));
		EXPECT_EQ(SIGBUS, probe_byte(at + PAGE));
		/* In place of another mapping. */
		EXPECT_EQ(-EOPNOTSUPP, map_fd(at, PAGE, RW, kind[i], fd, 0));
		EXPECT_EQ(KEEP, load(at));
	}
	EXPECT_EQ(PAGE, pwrite(fd, at, PAGE, PAGE));
	ASSERT_EQ(0, probe_store(at, 0));
	EXPECT_EQ(PAGE, pread(fd, at, PAGE, PAGE));
	EXPECT_EQ(KEEP, load(at));
	EXPECT_EQ(0, debug_check());
	close(fd);
	ASSERT_EQ(0, neg(umount(DAX_DIR)));
	rmdir(DAX_DIR);
}

static void oom_score(const char *text)
{
	spew("/proc/self/oom_score_adj", text);
}

/* More than any machine that runs this has. */
#define TOO_MUCH (64L * 1024 * MEG)

/* Otherwise the limit of msharefs would be reached before memory runs out. */
static long region_size(const char *options)
{
	return neg(mount(NULL, MSHARE_DIR, NULL, MS_REMOUNT, options));
}

/* A child that writes to its window until it is killed. */
static pid_t start_filling(char *addr)
{
	pid_t pid = fork();

	if (!pid) {
		oom_score("1000");
		/* Its exit frees this at once, and the others can use it. */
		pf_write_all(pf_own_memory(96 * MEG, 0, 0, 0, 0, 0), 96 * MEG,
			     0, 0, 0, 0);
		pf_write_all((long)addr, TOO_MUCH, 5, 0, 0, 0);
		_exit(1);
	}
	return pid;
}

static bool was_killed(pid_t pid)
{
	int status;

	return waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) &&
	       WTERMSIG(status) == SIGKILL;
}

/*
 * All memory in one region.  The OOM killer kills the process that takes more,
 * as with any other memory. The region's content stays while the region has a
 * name, as in tmpfs. Without a name it goes with the last sharer.
 */
TEST_F(mshare, all_memory_in_a_region)
{
	long before, held, kills, a = (long)self->addr;
	bool named;
	pid_t pid;

	if (!getenv("MSHARE_MACHINE_OOM"))
		SKIP(return, "MSHARE_MACHINE_OOM is not set");
	oom_score("-1000");
	ASSERT_EQ(0, region_size("size=0"));
	before = meminfo_kb("MemAvailable");
	ASSERT_GT(TOO_MUCH / 1024 / 2, before);
	if (self->len < TOO_MUCH)
		self->len = TOO_MUCH;

	for (named = true;; named = false) {
		kills = vmstat_count("oom_kill");
		MAKE_REGION();
		ASSERT_EQ(0, map_fd(self->addr, TOO_MUCH, RW, MAP_PRIVATE |
				    MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
		/* Faster with large pages, if there are any. */
		do_madvise(self->addr, TOO_MUCH, MADV_HUGEPAGE);
		pid = start_filling(self->addr);
		ASSERT_LT(0, pid);
		if (!named) {
			ASSERT_EQ(0, neg(unlink(self->path)));
			ASSERT_EQ(0, do_munmap(self->addr, self->len));
		}
		EXPECT_TRUE(was_killed(pid));
		EXPECT_LT(kills, vmstat_count("oom_kill"));
		if (!named)
			break;

		held = region_figure(self->name, "mshare-resident-kb");
		EXPECT_LT(before / 2, held)
			TH_LOG("the region has %ld of %ld kB", held, before);
		EXPECT_GT(before / 2, meminfo_kb("MemAvailable"));
		EXPECT_EQ(0, debug_check());
		/*
		 * All of the region's memory is still there for the other
		 * sharers.
		 */
		EXPECT_EQ(0, pf_wrong_pages(a, 64 * MEG, 5, 0, 0, 0));
		ASSERT_EQ(0, neg(unlink(self->path)));
		ASSERT_EQ(0, do_munmap(self->addr, self->len));
		EXPECT_TRUE(WAIT_FOR(meminfo_kb("MemAvailable") >
				     before / 10 * 9, 20000));
	}
	/* The killed process was the last sharer. */
	EXPECT_TRUE(WAIT_FOR(meminfo_kb("MemAvailable") > before / 10 * 9,
			     20000))
		TH_LOG("%ld of %ld kB available", meminfo_kb("MemAvailable"),
		       before);
	/* Only after the last of the counted memory has been freed. */
	ASSERT_TRUE(WAIT_FOR(region_size("size=50%") == 0, 20000));
	oom_score("0");
}

static bool is_dead(pid_t pid)
{
	int status;

	return waitpid(pid, &status, WNOHANG) != 0;
}

/* A child with that much private memory, and an ordinary score. */
static pid_t start_bystander(long len)
{
	pid_t pid = fork();

	if (!pid) {
		oom_score("0");
		pf_write_all(pf_own_memory(len, 0, 0, 0, 0, 0), len, 0, 0, 0, 0);
		pause();
		_exit(1);
	}
	return pid;
}

/*
 * The process that fills a region is killed, and not the one with more private
 * memory. The region has no name, so it goes with the process, and there is
 * room again.
 */
TEST_F(mshare, filler_dies_before_bystander)
{
	const long own = 128 * MEG;
	pid_t bystander, filler;
	long kills;

	if (!getenv("MSHARE_MACHINE_OOM"))
		SKIP(return, "MSHARE_MACHINE_OOM is not set");
	oom_score("-1000");
	ASSERT_EQ(0, region_size("size=0"));
	if (self->len < TOO_MUCH)
		self->len = TOO_MUCH;
	kills = vmstat_count("oom_kill");
	bystander = start_bystander(own);
	ASSERT_LT(0, bystander);
	filler = fork();
	if (!filler) {
		oom_score("0");
		if (sys_mshare(self->name, self->addr, self->len,
			       O_CREAT | O_RDWR, 0600) ||
		    unlink(self->path) ||
		    map_fd(self->addr, TOO_MUCH, RW, MAP_PRIVATE |
			   MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))
			_exit(2);
		do_madvise(self->addr, TOO_MUCH, MADV_HUGEPAGE);
		pf_write_all((long)self->addr, TOO_MUCH, 5, 0, 0, 0);
		_exit(1);
	}
	EXPECT_TRUE(was_killed(filler));
	EXPECT_LT(kills, vmstat_count("oom_kill"));
	EXPECT_FALSE(is_dead(bystander));
	kill(bystander, SIGKILL);
	EXPECT_TRUE(was_killed(bystander));
	/* Only after the last of the counted memory has been freed. */
	ASSERT_TRUE(WAIT_FOR(region_size("size=50%") == 0, 20000));
	oom_score("0");
}

#define SHARERS 100

/*
 * A hundred sharers of more than half of the memory do not count a hundred
 * times. The process that takes the rest privately is killed.
 */
TEST_F(mshare, hundred_sharers_and_a_hog)
{
	long len, kills;
	pid_t sharer[SHARERS], hog;
	int i, dead = 0;

	if (!getenv("MSHARE_MACHINE_OOM"))
		SKIP(return, "MSHARE_MACHINE_OOM is not set");
	oom_score("-1000");
	ASSERT_EQ(0, region_size("size=0"));
	kills = vmstat_count("oom_kill");
	len = meminfo_kb("MemAvailable") / 100 * 60 / 1024 * MEG;
	/* A kernel without KASAN leaves more than a GiB. */
	self->len = (len / self->granule + 1) * self->granule;
	MAKE_REGION();
	ASSERT_EQ(0, map_fd(self->addr, len, RW, MAP_PRIVATE | MAP_ANONYMOUS |
			    MAP_NORESERVE, -1, 0));
	do_madvise(self->addr, len, MADV_HUGEPAGE);
	ASSERT_EQ(0, pf_write_all((long)self->addr, len, 5, 0, 0, 0));
	for (i = 0; i < SHARERS; i++) {
		sharer[i] = fork();
		ASSERT_LE(0, sharer[i]);
		if (!sharer[i]) {
			oom_score("0");
			pause();
			_exit(1);
		}
	}
	hog = fork();
	if (!hog) {
		oom_score("0");
		do_munmap(self->addr, self->len);
		pf_write_all((long)mmap(NULL, TOO_MUCH, RW, MAP_PRIVATE |
					MAP_ANONYMOUS | MAP_NORESERVE, -1, 0),
			     TOO_MUCH, 5, 0, 0, 0);
		_exit(1);
	}
	EXPECT_TRUE(was_killed(hog));
	EXPECT_LT(kills, vmstat_count("oom_kill"));
	for (i = 0; i < SHARERS; i++) {
		dead += is_dead(sharer[i]);
		kill(sharer[i], SIGKILL);
	}
	EXPECT_EQ(0, dead);
	while (waitpid(-1, NULL, 0) > 0)
		;
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	/* Only after the last of the counted memory has been freed. */
	ASSERT_TRUE(WAIT_FOR(region_size("size=50%") == 0, 20000));
	oom_score("0");
}

int main(int argc, char **argv)
{
	return mshare_main(argc, argv);
}
