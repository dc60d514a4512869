// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare: fork, exec, exit and kill.
 */
#include "mshare_helpers.h"

#include <spawn.h>

#include "mshare_failnth.h"

#define KEEP 0x5ca1ab1eL

static long nr_sharers(const char *name)
{
	return region_figure(name, "mshare-sharers");
}

/* Wait for a child. Return: its exit code, or the negative signal. */
static int reap(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		return -1000;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

TEST_F(mshare, fork_shares_not_cow)
{
	char *anon = self->addr, *shm = self->addr + 4 * MEG;
	pid_t pid;

	MAKE_REGION();
	ASSERT_EQ(0, map_anon(anon, MEG, RW));
	ASSERT_EQ(0, map_shmem(shm, MEG, RW));
	ASSERT_EQ(0, probe_store(anon, 1));
	ASSERT_EQ(0, probe_store(shm, 1));

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (load(anon) != 1 || load(shm) != 1 ||
		    nr_sharers(self->name) != 2)
			_exit(1);
		/* A page that is present, one that is not, a new mapping. */
		if (probe_store(anon, 2) || probe_store(anon + PAGE, 3) ||
		    probe_store(shm, 4) ||
		    map_anon(self->addr + 8 * MEG, PAGE, RW) ||
		    probe_store(self->addr + 8 * MEG, 5))
			_exit(2);
		/* Fork again, and let the grandchild run the rest. */
		pid = fork();
		if (!pid)
			_exit(load(anon) != 2 || nr_sharers(self->name) != 3 ||
			      probe_store(anon + 8, 6) ||
			      do_munmap(shm, MEG));
		_exit(reap(pid) ? 3 : 0);
	}
	EXPECT_EQ(0, reap(pid));
	EXPECT_EQ(2, load(anon));
	EXPECT_EQ(6, load(anon + 8));
	EXPECT_EQ(3, load(anon + PAGE));
	EXPECT_EQ(5, load(self->addr + 8 * MEG));
	EXPECT_EQ(SIGBUS, probe_byte(shm));
	EXPECT_EQ(1, nr_sharers(self->name));
	EXPECT_EQ(0, debug_check());
}

/* The child keeps the region when the parent detaches or exits. */
TEST_F(mshare, child_outlives_parent)
{
	int pfd[2], res[2];
	char byte = 1;
	pid_t pid;

	ASSERT_EQ(0, pipe(pfd));
	ASSERT_EQ(0, pipe(res));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (sys_mshare(self->name, self->addr, self->len,
			       O_CREAT | O_RDWR, 0600) ||
		    map_anon(self->addr, PAGE, RW) ||
		    probe_store(self->addr, KEEP))
			_exit(1);
		pid = fork();
		if (pid)
			_exit(0);
		/* Access the region after the parent and the name are gone. */
		if (read(pfd[0], &byte, 1) != 1)
			_exit(1);
		byte = load(self->addr) == KEEP &&
		       !probe_store(self->addr, 1);
		if (write(res[1], &byte, 1) != 1)
			_exit(1);
		_exit(0);
	}
	EXPECT_EQ(0, reap(pid));
	EXPECT_EQ(1, nr_sharers(self->name));
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_EQ(1, write(pfd[1], &byte, 1));
	byte = 0;
	EXPECT_EQ(1, read(res[0], &byte, 1));
	EXPECT_EQ(1, byte);
}

/* Leaves of the tree: count themselves in the region, then wait for the end. */
static void leaf(char *base, int index, int pipe_fd)
{
	long *counter = (long *)base;
	char byte;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (probe_store(base + PAGE + index * sizeof(long), index + 1))
		_exit(1);
	__atomic_add_fetch(counter, 1, __ATOMIC_SEQ_CST);
	if (read(pipe_fd, &byte, 1) != 0)
		_exit(2);
	/* The leaf can also use what the root has mapped in the meantime. */
	_exit(load(base + 8 * MEG) == KEEP ? 0 : 3);
}

/*
 * A thousand sharers in two generations, or as many as the debug kernel can run
 * in some seconds.
 */
TEST_F(mshare, fork_tree_1000)
{
	const char *env = getenv("MSHARE_FORKS");
	int total = env ? atoi(env) : scaled(1000, 200), branches = 40;
	int leaves = total / branches - 1, i, j, bad = 0;
	int pfd[2];
	pid_t pid, *pids;

	total = branches * (leaves + 1);
	pids = calloc(branches, sizeof(*pids));
	ASSERT_NE(NULL, pids);
	ASSERT_EQ(0, pipe(pfd));
	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
	ASSERT_EQ(0, probe_store(self->addr, 0));

	for (i = 0; i < branches; i++) {
		pid = fork();
		ASSERT_LE(0, pid);
		pids[i] = pid;
		if (pid)
			continue;
		close(pfd[1]);
		for (j = 0; j < leaves; j++) {
			pid = fork();
			if (pid < 0)
				_exit(10);
			if (!pid)
				leaf(self->addr, branches + i * leaves + j,
				     pfd[0]);
		}
		pid = fork();
		if (pid < 0)
			_exit(11);
		if (!pid)
			leaf(self->addr, i, pfd[0]);
		for (bad = 0; wait(&j) > 0;)
			bad += j != 0;
		_exit(bad != 0);
	}
	close(pfd[0]);
	/* total leaves, and the branches that wait for their leaves. */
	EXPECT_TRUE(WAIT_FOR(load(self->addr) == total, 200000))
		TH_LOG("%ld of %d leaves ran", load(self->addr), total);
	EXPECT_EQ(total + branches + 1, nr_sharers(self->name));
	TH_LOG("%ld sharers", nr_sharers(self->name));
	for (i = 0; i < total; i++)
		bad += load(self->addr + PAGE + i * sizeof(long)) != i + 1;
	EXPECT_EQ(0, bad);

	/* Flushes that reach all of them. */
	ASSERT_EQ(0, map_anon(self->addr + 8 * MEG, 2 * MEG, RW));
	ASSERT_EQ(0, probe_store(self->addr + 8 * MEG, 1));
	ASSERT_EQ(0, do_munmap(self->addr + 8 * MEG, 2 * MEG));
	ASSERT_EQ(0, map_anon(self->addr + 8 * MEG, PAGE, RW));
	ASSERT_EQ(0, probe_store(self->addr + 8 * MEG, KEEP));
	EXPECT_EQ(0, debug_check());

	close(pfd[1]);
	for (i = 0; i < branches; i++)
		EXPECT_EQ(0, reap(pids[i]));
	EXPECT_EQ(1, nr_sharers(self->name));
	EXPECT_EQ(total, load(self->addr));
	free(pids);
}

/* Each allocation of fork() fails once: the parent's window survives. */
TEST_F(mshare, fork_fail_nth)
{
	/* In a unit of its own: the child needs a table for this window alone. */
	char *far = (char *)FAR_UNIT;
	int fd = failnth_open(), n, hits = 0;
	bool hit;
	pid_t pid;

	if (fd < 0)
		SKIP(return, "no fault injection");
	self->len = 2 * self->granule;
	MAKE_REGION();
	ASSERT_EQ(0, sys_mshare(self->name2, far, GIB, O_CREAT | O_RDWR, 0600));
	ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
	ASSERT_EQ(0, probe_store(self->addr, KEEP));
	ASSERT_EQ(0, map_anon(far, PAGE, RW));
	ASSERT_EQ(0, probe_store(far, KEEP));
	for (n = 1; n < FAILNTH_MAX; n++) {
		failnth_arm(fd, n);
		pid = fork();
		if (!pid)
			_exit(load(self->addr) != KEEP || load(far) != KEEP);
		hit = failnth_hit(fd);
		hits += hit;
		EXPECT_EQ(0, pid < 0 ? !hit : reap(pid));
		ASSERT_EQ(KEEP, load(self->addr))
			TH_LOG("lost the window at %d", n);
		ASSERT_EQ(KEEP, load(far))
			TH_LOG("lost the other window at %d", n);
		ASSERT_EQ(1, nr_sharers(self->name));
		ASSERT_EQ(1, nr_sharers(self->name2));
		if (!hit)
			break;
	}
	close(fd);
	EXPECT_LT(n, FAILNTH_MAX);
	EXPECT_LT(10, hits);
	EXPECT_EQ(0, debug_check());
	TH_LOG("%d allocations failed", hits);
}

/* Runs in the new program: is any of the old window left? */
static int exec_probe(const char *addr_text, const char *name)
{
	char *addr = (char *)strtoul(addr_text, NULL, 0);

	probe_init();
	if (self_maps_line(addr))
		return 1;
	if (probe_byte(addr) != SIGSEGV || last_fault.code != SEGV_MAPERR)
		return 2;
	/* Only the parent. */
	if (nr_sharers(name) != 1)
		return 3;
	return 0;
}

TEST_F(mshare, exec_detaches)
{
	char addr[32], exe[] = "/proc/self/exe";
	char * const argv[] = { exe, "--exec-probe", addr, self->name, NULL };
	char * const envp[] = { NULL };
	pid_t pid;

	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
	ASSERT_EQ(0, probe_store(self->addr, KEEP));
	snprintf(addr, sizeof(addr), "%p", self->addr);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		/* An exec that fails changes nothing. */
		execve("/nonexistent", argv, envp);
		if (load(self->addr) != KEEP)
			_exit(100);
		execve(exe, argv, envp);
		_exit(101);
	}
	EXPECT_EQ(0, reap(pid));
	EXPECT_EQ(KEEP, load(self->addr));
	EXPECT_EQ(1, nr_sharers(self->name));

	/*
	 * Without a fork before it: the child of vfork() borrows the parent's
	 * mm.
	 */
	ASSERT_EQ(0, posix_spawn(&pid, exe, NULL, NULL, argv, envp));
	EXPECT_EQ(0, reap(pid));
	EXPECT_EQ(KEEP, load(self->addr));
	EXPECT_EQ(1, nr_sharers(self->name));
}

/* What a process does that borrows the mm of a sharer, not as its thread. */
struct borrower {
	const char *name;
	char *at;
	size_t len;
	bool leaves;
};

static int borrow(void *arg)
{
	struct borrower *b = arg;

	if (nr_sharers(b->name) != 1 || load(b->at) != KEEP)
		return 1;
	if (map_anon(b->at + MEG, PAGE, RW) || probe_store(b->at + MEG, 7))
		return 2;
	if (b->leaves && do_munmap(b->at, b->len))
		return 3;
	return nr_sharers(b->name) == !b->leaves ? 0 : 4;
}

/* CLONE_VM makes no further sharer, and the end of such a process takes none. */
TEST_F(mshare, clone_vm_is_the_same_sharer)
{
	struct borrower b = {
		.name = self->name, .at = self->addr, .len = self->len,
	};
	char *stack = mmap(NULL, MEG, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct peer p;
	pid_t pid;

	ASSERT_NE(MAP_FAILED, stack);
	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
	ASSERT_EQ(0, probe_store(self->addr, KEEP));
	pid = clone(borrow, stack + MEG, CLONE_VM | SIGCHLD, &b);
	ASSERT_LT(0, pid);
	EXPECT_EQ(0, reap(pid));
	EXPECT_EQ(KEEP, load(self->addr));
	EXPECT_EQ(7, load(self->addr + MEG));
	EXPECT_EQ(1, nr_sharers(self->name));

	/* What it detaches is gone for all who use the mm. */
	b.leaves = true;
	pid = clone(borrow, stack + MEG, CLONE_VM | CLONE_VFORK | SIGCHLD, &b);
	ASSERT_LT(0, pid);
	EXPECT_EQ(0, reap(pid));
	EXPECT_EQ(SIGSEGV, probe_byte(self->addr));
	EXPECT_EQ(SEGV_MAPERR, last_fault.code);
	EXPECT_EQ(0, nr_sharers(self->name));
	EXPECT_EQ(0, debug_check());
	ASSERT_EQ(0, peer_start(&p));
	ATTACH_PEER(&p, O_RDWR);
	EXPECT_EQ(KEEP, peer_call(&p, pf_load, (long)self->addr) ? 0 : p.val);
	EXPECT_EQ(0, peer_stop(&p));
}

/*
 * process_mrelease() frees the memory of a process that is being killed, as the
 * OOM killer's reaper does. The region is not its memory.
 */
#ifndef __NR_process_mrelease
#define __NR_process_mrelease 448
#endif

TEST_F(mshare, mrelease_spares_the_region)
{
	const size_t len = 4 * MEG, own = 16 * MEG;
	int round, fd, gate[2], released = 0;
	size_t off;
	pid_t pid;
	char c, *at;

	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, len, RW));
	for (off = 0; off < len; off += PAGE)
		ASSERT_EQ(0, probe_store(self->addr + off, off + 1));
	for (round = 0; round < 20; round++) {
		ASSERT_EQ(0, pipe(gate));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			at = mmap(NULL, own, RW, MAP_PRIVATE | MAP_ANONYMOUS |
				  MAP_POPULATE, -1, 0);
			if (at == MAP_FAILED || write(gate[1], "x", 1) != 1)
				_exit(1);
			for (;;)
				pause();
		}
		ASSERT_EQ(1, read(gate[0], &c, 1));
		fd = neg(syscall(434 /* pidfd_open */, pid, 0));
		ASSERT_LE(0, fd);
		kill(pid, SIGKILL);
		released += !syscall(__NR_process_mrelease, fd, 0);
		EXPECT_EQ(-SIGKILL, reap(pid));
		close(fd);
		close(gate[0]);
		close(gate[1]);
		for (off = 0; off < len; off += PAGE)
			ASSERT_EQ((long)off + 1, load(self->addr + off));
	}
	EXPECT_LT(0, released);
	TH_LOG("%d of %d processes were still there", released, round);
	EXPECT_EQ(1, nr_sharers(self->name));
	EXPECT_EQ(0, debug_check());
}

/* Touch, map and unmap in the window until killed. */
static __noreturn void storm_child(char *base, unsigned int seed)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		char *at = base + MEG * (rand_r(&seed) % 16);

		switch (rand_r(&seed) % 4) {
		case 0:
			map_anon(at, MEG, RW);
			break;
		case 1:
			do_munmap(at, MEG);
			break;
		case 2:
			if (!fork())
				_exit(probe_store(at, 1) & 0);
			wait(NULL);
			break;
		default:
			probe_store(at + PAGE * (rand_r(&seed) % 256), 1);
			probe_byte(at);
		}
	}
}

TEST_F(mshare, sigkill_storm)
{
	unsigned int seed = 4711;
	long rounds;
	int status, i;
	pid_t pid[8];

	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr + 64 * MEG, PAGE, RW));
	ASSERT_EQ(0, probe_store(self->addr + 64 * MEG, KEEP));
	for (rounds = scaled(10, 5); rounds; rounds--) {
		for (i = 0; i < (int)ARRAY_SIZE(pid); i++) {
			pid[i] = fork();
			ASSERT_LE(0, pid[i]);
			if (!pid[i])
				storm_child(self->addr, seed + i);
		}
		seed += 100;
		nap_ms(rand_r(&seed) % 30);
		for (i = 0; i < (int)ARRAY_SIZE(pid); i++) {
			kill(pid[i], SIGKILL);
			if (i & 1)
				map_anon(self->addr, 16 * MEG, RW);
		}
		for (i = 0; i < (int)ARRAY_SIZE(pid); i++) {
			ASSERT_EQ(pid[i], waitpid(pid[i], &status, 0));
			EXPECT_TRUE(WIFSIGNALED(status));
			EXPECT_EQ(SIGKILL, WTERMSIG(status));
		}
		ASSERT_EQ(KEEP, load(self->addr + 64 * MEG));
	}
	/* Their own children are killed by PDEATHSIG or exit by themselves. */
	EXPECT_TRUE(WAIT_FOR(nr_sharers(self->name) == 1, 10000))
		TH_LOG("%ld sharers left", nr_sharers(self->name));
	EXPECT_EQ(0, debug_check());
}

/* All touch the same new pages at once: each page is allocated once. */
TEST_F(mshare, concurrent_faults_lose_nothing)
{
	const int n = 4, pages = 512, rounds = scaled(40, 10);
	int round, i, status, gate[2];
	long j, bad = 0;
	char byte;

	MAKE_REGION();
	for (round = 0; round < rounds; round++) {
		/* Anonymous, shared and, with advice, huge pages in turn. */
		ASSERT_EQ(0, round % 3 == 1 ?
			  map_shmem(self->addr, pages * PAGE, RW) :
			  map_anon(self->addr, pages * PAGE, RW));
		if (round % 3 == 2)
			do_madvise(self->addr, pages * PAGE, MADV_HUGEPAGE);
		ASSERT_EQ(0, pipe(gate));
		for (i = 0; i < n; i++) {
			pid_t pid = fork();

			ASSERT_LE(0, pid);
			if (pid)
				continue;
			close(gate[1]);
			if (read(gate[0], &byte, 1))
				_exit(1);
			for (j = 0; j < pages; j++)
				__atomic_add_fetch((long *)(self->addr +
							    j * PAGE), 1,
						   __ATOMIC_SEQ_CST);
			_exit(0);
		}
		close(gate[0]);
		close(gate[1]);
		for (i = 0; i < n; i++) {
			ASSERT_LT(0, wait(&status));
			ASSERT_EQ(0, status);
		}
		for (j = 0; j < pages; j++)
			bad += load(self->addr + j * PAGE) != n;
		ASSERT_EQ(0, bad);
	}
	EXPECT_EQ(0, debug_check());
}

/* All sharers of a region without a name die at the same time. */
TEST_F(mshare, sigkill_of_all_frees)
{
	int i, round, status;
	pid_t pid[6];

	for (round = 0; round < scaled(20, 5); round++) {
		int pfd[2];
		char byte;

		ASSERT_EQ(0, pipe(pfd));
		for (i = 0; i < (int)ARRAY_SIZE(pid); i++) {
			pid[i] = fork();
			ASSERT_LE(0, pid[i]);
			if (pid[i])
				continue;
			while (sys_mshare(self->name, self->addr, self->len,
					  O_CREAT | O_RDWR, 0600))
				sched_yield();
			map_anon(self->addr, MEG, RW);
			probe_store(self->addr + i * PAGE, i);
			if (write(pfd[1], "x", 1) != 1)
				_exit(1);
			for (;;)
				probe_byte(self->addr + i * PAGE);
		}
		for (i = 0; i < (int)ARRAY_SIZE(pid); i++)
			ASSERT_EQ(1, read(pfd[0], &byte, 1));
		EXPECT_EQ((long)ARRAY_SIZE(pid), nr_sharers(self->name));
		ASSERT_EQ(0, sys_mshare_unlink(self->name));
		for (i = 0; i < (int)ARRAY_SIZE(pid); i++)
			kill(pid[i], SIGKILL);
		for (i = 0; i < (int)ARRAY_SIZE(pid); i++)
			waitpid(pid[i], &status, 0);
		close(pfd[0]);
		close(pfd[1]);
	}
	EXPECT_TRUE(WAIT_FOR(debug_regions() <= self->regions_before, 10000));
}

/* fork() during everything that changes the region. */
TEST_F(mshare, fork_vs_unmap)
{
	pid_t mapper, pid;
	long forks;

	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr + 64 * MEG, PAGE, RW));
	ASSERT_EQ(0, probe_store(self->addr + 64 * MEG, KEEP));
	mapper = fork();
	ASSERT_LE(0, mapper);
	if (!mapper) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;) {
			map_anon(self->addr, 8 * MEG, RW);
			probe_store(self->addr, 1);
			probe_store(self->addr + 4 * MEG, 1);
			do_munmap(self->addr, 8 * MEG);
		}
	}
	for (forks = scaled(200, 50); forks; forks--) {
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			probe_store(self->addr, 2);
			_exit(load(self->addr + 64 * MEG) != KEEP);
		}
		ASSERT_EQ(0, reap(pid));
	}
	kill(mapper, SIGKILL);
	EXPECT_EQ(-SIGKILL, reap(mapper));
	EXPECT_EQ(1, nr_sharers(self->name));
	EXPECT_EQ(0, debug_check());
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "--exec-probe"))
		return exec_probe(argv[2], argv[3]);
	return mshare_main(argc, argv);
}
