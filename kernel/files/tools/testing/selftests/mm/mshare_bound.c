// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare: no sharer keeps the others out for longer than one piece of work
 * takes, whatever it calls and however large the region is.
 *
 * The tests do not measure time. They count how often one sharer completes an
 * operation while another is inside a single call, and how often a call gives
 * up the lock.
 */
#include "mshare_failnth.h"
#include "mshare_helpers.h"
#include "mshare_trace.h"

#include <sys/sysinfo.h>

#define BIG	(64 * MEG)
/* Where the test's big mapping and the other sharer's page are. */
#define BIG_AT	(self->addr + 32 * MEG)
#define PAGE_AT	(self->addr + 512 * MEG)

/* A mapping of small pages, all of them present. */
static long map_small(char *at, size_t len, bool shmem)
{
	long err = shmem ? map_shmem(at, len, RW) : map_anon(at, len, RW);
	size_t i;

	if (err)
		return err;
	if (have_thp())
		madvise(at, len, MADV_NOHUGEPAGE);
	for (i = 0; i < len; i += PAGE)
		WRITE_ONCE(at[i], 1);
	return 0;
}

static long read_file(const char *path)
{
	static char buf[65536];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		;
	n = n < 0 ? -errno : 0;
	close(fd);
	return n;
}

/* ---------------------------------------------------------------- the calls */

static long call_populate(char *at, size_t len)
{
	return do_madvise(at, len, MADV_POPULATE_READ);
}

static long call_smaps(char *at, size_t len)
{
	(void)at;
	(void)len;
	return read_file("/proc/self/smaps");
}

static long call_rollup(char *at, size_t len)
{
	(void)at;
	(void)len;
	return read_file("/proc/self/smaps_rollup");
}

static long call_mincore(char *at, size_t len)
{
	static unsigned char vec[BIG / PAGE];

	return neg(mincore(at, len, vec));
}

static long call_cold(char *at, size_t len)
{
	return do_madvise(at, len, MADV_COLD);
}

static long call_dontneed(char *at, size_t len)
{
	return do_madvise(at, len, MADV_DONTNEED);
}

static long call_mprotect(char *at, size_t len)
{
	static int prot = RW;

	prot = prot == RW ? PROT_READ : RW;
	return do_mprotect(at, len, prot);
}

static long call_mlock(char *at, size_t len)
{
	return neg(mlock(at, len));
}

static long call_munlock(char *at, size_t len)
{
	return neg(munlock(at, len));
}

static long call_map_over(char *at, size_t len)
{
	return map_anon(at, len, RW);
}

static long do_munmap_at(char *at, size_t len)
{
	return do_munmap(at, len);
}

static long prepare_map(char *at, size_t len)
{
	return map_small(at, len, false);
}

static long prepare_touch(char *at, size_t len)
{
	return do_madvise(at, len, MADV_POPULATE_WRITE);
}

struct call {
	const char *name;
	long (*prepare)(char *at, size_t len);
	long (*fn)(char *at, size_t len);
	int oflag;		/* of the caller's window */
	/* How often it takes a lock for 64 MiB. */
	int at_least, at_most;
};

static const struct call calls[] = {
	{ "MADV_POPULATE_READ", NULL, call_populate, O_RDONLY, 1024, 1100 },
	{ "smaps", NULL, call_smaps, O_RDONLY, 32, 200 },
	{ "mincore", NULL, call_mincore, O_RDONLY, 256, 300 },
	{ "MADV_COLD", NULL, call_cold, O_RDWR, 32, 80 },
	{ "MADV_DONTNEED", prepare_touch, call_dontneed, O_RDWR, 32, 80 },
	{ "mprotect", NULL, call_mprotect, O_RDWR, 32, 80 },
	{ "mlock", call_munlock, call_mlock, O_RDWR, 1056, 1200 },
	{ "munlock", call_mlock, call_munlock, O_RDWR, 32, 80 },
	{ "munmap", prepare_map, do_munmap_at, O_RDWR, 32, 80 },
	{ "mmap over mappings", prepare_map, call_map_over, O_RDWR, 32, 80 },
};

/* ----------------------------------------------- while another is in a call */

struct turn {
	int seq;		/* odd: within a call */
	int stop;
	long err;
};

static void keep_calling(struct turn *turn, const struct call *call, char *at,
			 size_t len)
{
	while (!READ_ONCE(turn->stop)) {
		if (call->prepare)
			call->prepare(at, len);
		__atomic_add_fetch(&turn->seq, 1, __ATOMIC_SEQ_CST);
		turn->err = call->fn(at, len);
		__atomic_add_fetch(&turn->seq, 1, __ATOMIC_SEQ_CST);
		if (turn->err)
			return;
	}
}

/* The most changes of the page during a single call of the other process. */
static int done_within_a_call(struct turn *turn, char *page, int wanted,
			      long ms)
{
	long end = now_ms() + ms;
	int before, after, last = 0, n = 0, best = 0, prot = PROT_READ;

	while (best < wanted && now_ms() < end && !READ_ONCE(turn->err)) {
		before = __atomic_load_n(&turn->seq, __ATOMIC_SEQ_CST);
		if (mprotect(page, PAGE, prot))
			return -errno;
		prot = RW ^ prot ^ PROT_READ;
		after = __atomic_load_n(&turn->seq, __ATOMIC_SEQ_CST);
		if (before != after || !(before & 1))
			continue;
		n = before == last ? n + 1 : 1;
		last = before;
		if (n > best)
			best = n;
	}
	return best;
}

/* mprotect() eight times while the other is in a call of many pieces. */
TEST_F_TIMEOUT(mshare, others_get_in_during_a_call, 400)
{
	struct turn *turn;
	unsigned int i;
	int status, n;
	pid_t pid;

	if (get_nprocs() < 2)
		SKIP(return, "there is only one CPU");

	turn = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, turn);
	MAKE_REGION();
	ASSERT_EQ(0, map_small(BIG_AT, BIG, false));
	ASSERT_EQ(0, map_small(PAGE_AT, PAGE, false));

	for (i = 0; i < ARRAY_SIZE(calls); i++) {
		if (calls[i].fn == call_cold && !have_advice(MADV_COLD))
			continue;
		memset(turn, 0, sizeof(*turn));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			if (do_munmap(self->addr, self->len) ||
			    sys_mshare(self->name, self->addr, self->len,
				       calls[i].oflag, 0))
				_exit(1);
			keep_calling(turn, &calls[i], BIG_AT, BIG);
			_exit(turn->err != 0);
		}
		n = done_within_a_call(turn, PAGE_AT, 8, 60000);
		WRITE_ONCE(turn->stop, 1);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(0, status);
		EXPECT_LE(8, n)
			TH_LOG("%s: the other sharer got in only %d times",
			       calls[i].name, n);
	}
}

/* ----------------------------------------------- how often a call gives way */

#define ALWAYS_RELAX	MSHARE_DEBUG "always_relax"
#define LOCK_EVENT	TRACEFS "events/mmap_lock/mmap_lock_acquire_returned/"

static bool can_count_locks(void)
{
	return trace_have() && !access(LOCK_EVENT "enable", W_OK) &&
	       !access(ALWAYS_RELAX, W_OK);
}

/* A file of tracefs is emptied by opening it with O_TRUNC. */
static int empty(const char *path)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

/* Count the caller's locks from here on, with a filter: see trace_names(). */
static long count_locks(void)
{
	char filter[48];

	snprintf(filter, sizeof(filter), "common_pid == %d", getpid());
	return trace_names("0") ?:
	       spew(TRACEFS "tracing_on", "0") ?:
	       spew(LOCK_EVENT "filter", filter) ?:
	       spew(LOCK_EVENT "enable", "1");
}

static void count_no_locks(void)
{
	spew(LOCK_EVENT "enable", "0");
	spew(LOCK_EVENT "filter", "0");
	trace_names("1");
	spew(TRACEFS "tracing_on", "1");
}

/* How often the caller took an mmap_lock in a call that always gives way. */
static int locks_taken(const struct call *call, char *at, size_t len)
{
	int n;

	if (call->prepare && call->prepare(at, len))
		return -EIO;
	if (empty(TRACEFS "trace") || spew(ALWAYS_RELAX, "1") ||
	    spew(TRACEFS "tracing_on", "1"))
		return -EIO;
	n = call->fn(at, len);
	spew(TRACEFS "tracing_on", "0");
	spew(ALWAYS_RELAX, "0");
	return n ? n : traced("mmap_lock_acquire_returned", "success=true");
}

TEST_F(mshare, a_call_gives_way_after_each_piece)
{
	const struct call rollup = { .fn = call_rollup };
	unsigned int i;
	int n;

	if (!can_count_locks())
		SKIP(return, "the kernel does not tell of its locks");
	MAKE_REGION();
	ASSERT_EQ(0, map_small(BIG_AT, BIG, false));
	ASSERT_EQ(0, count_locks());

	for (i = 0; i < ARRAY_SIZE(calls); i++) {
		if (calls[i].fn == call_cold && !have_advice(MADV_COLD))
			continue;
		n = locks_taken(&calls[i], BIG_AT, BIG);
		EXPECT_LE(calls[i].at_least, n)
			TH_LOG("%s: %d times only", calls[i].name, n);
		EXPECT_GE(calls[i].at_most, n)
			TH_LOG("%s: %d times", calls[i].name, n);
	}

	/* It takes its own lock, and never the region's. */
	n = locks_taken(&rollup, BIG_AT, BIG);
	count_no_locks();
	EXPECT_LE(1, n);
	EXPECT_GE(3, n);
}

/* An empty reserved range is not walked in steps of 2 MiB. */
TEST_F(mshare, empty_ranges_take_few_pieces)
{
	const struct call sparse[] = {
		{ "smaps", NULL, call_smaps, O_RDONLY, 2, 200 },
		{ "MADV_DONTNEED", NULL, call_dontneed, O_RDWR, 1, 100 },
	};
	unsigned int i;
	int n;

	if (!can_count_locks())
		SKIP(return, "the kernel does not tell of its locks");
	MAKE_REGION();
	ASSERT_EQ(0, map_fd(self->addr, self->len, RW, MAP_PRIVATE |
			    MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
	WRITE_ONCE(*self->addr, 1);
	WRITE_ONCE(self->addr[self->len - 1], 1);

	ASSERT_EQ(0, count_locks());
	for (i = 0; i < ARRAY_SIZE(sparse); i++) {
		n = locks_taken(&sparse[i], self->addr, self->len);
		EXPECT_LE(sparse[i].at_least, n)
			TH_LOG("%s: %d times only", sparse[i].name, n);
		EXPECT_GE(sparse[i].at_most, n)
			TH_LOG("%s: %d times", sparse[i].name, n);
	}
	count_no_locks();
	EXPECT_EQ(0, load(self->addr));
}

/* --------------------------------------------------------- what /proc shows */

/*
 * The rollup is made from the region's counters, smaps from its pages. A window
 * adds the same to both, except for the kernel's rounding of Pss.
 */
TEST_F(mshare, rollup_equals_smaps)
{
	static const char * const keys[] = {
		"Rss", "Pss", "Pss_Dirty", "Anonymous", "Private_Dirty",
		"Shared_Dirty", "Private_Clean", "Swap", "Locked",
	};
	long with[ARRAY_SIZE(keys)], smaps[ARRAY_SIZE(keys)], without;
	unsigned int i;
	struct peer p;
	int sharers;

	ASSERT_EQ(0, peer_start(&p));
	MAKE_REGION();
	ASSERT_EQ(0, map_small(BIG_AT, 8 * MEG, false));
	ASSERT_EQ(0, map_small(PAGE_AT, 4 * MEG, true));
	ASSERT_EQ(0, neg(mlock(BIG_AT, MEG)));

	for (sharers = 1; sharers <= 2; sharers++) {
		if (sharers == 2)
			ATTACH_PEER(&p, O_RDONLY);
		for (i = 0; i < ARRAY_SIZE(keys); i++) {
			smaps[i] = smaps_kb(getpid(), self->addr, keys[i]);
			with[i] = figure("/proc/self/smaps_rollup", keys[i]);
		}
		EXPECT_EQ(12 * 1024, smaps[0]);
		EXPECT_EQ(12 * 1024 / sharers, smaps[1]);
		EXPECT_EQ(1024 / sharers, smaps[8]);
		if (sharers == 1)
			continue;
		ASSERT_EQ(0, do_munmap(self->addr, self->len));
		for (i = 0; i < ARRAY_SIZE(keys); i++) {
			without = figure("/proc/self/smaps_rollup", keys[i]);
			/* The process itself may have touched a page or two. */
			EXPECT_LE(smaps[i] - 64, with[i] - without)
				TH_LOG("%s: %ld kB in smaps, %ld kB in rollup",
				       keys[i], smaps[i], with[i] - without);
			EXPECT_GE(smaps[i] + 64, with[i] - without)
				TH_LOG("%s: %ld kB in smaps, %ld kB in rollup",
				       keys[i], smaps[i], with[i] - without);
		}
	}
}

/* The file can be read to its end although the region changes all the time. */
TEST_F(mshare, smaps_while_mappings_come_and_go)
{
	long before = now_ms(), rss;
	int status, n = 0;
	pid_t pid;

	MAKE_REGION();
	ASSERT_EQ(0, map_small(BIG_AT, 16 * MEG, false));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;) {
			if (do_munmap(BIG_AT + 4 * MEG, 4 * MEG) ||
			    map_small(BIG_AT + 4 * MEG, 4 * MEG, n++ & 1))
				_exit(1);
		}
	}
	for (n = 0; n < 20 || now_ms() < before + 1000; n++) {
		rss = smaps_kb(getpid(), self->addr, "Rss");
		EXPECT_LE(12 * 1024, rss);
		EXPECT_GE(16 * 1024, rss);
	}
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(SIGKILL, status);
}

/* ------------------------------------------------------------------ signals */

/* A signal kills a task at once during a call on the whole region. */
TEST_F_TIMEOUT(mshare, sigkill_in_a_call, 400)
{
	/* Each call takes several pieces. */
	const size_t len = 16 * MEG;
	unsigned int i, turn;
	int status;
	pid_t pid;

	MAKE_REGION();
	ASSERT_EQ(0, map_small(BIG_AT, len, false));

	/* Each call is killed at another moment. */
	for (turn = 0; turn < scaled(3, 1) * (long)ARRAY_SIZE(calls); turn++) {
		i = turn % ARRAY_SIZE(calls);
		if (calls[i].prepare == prepare_map)
			ASSERT_EQ(0, prepare_map(BIG_AT, len));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			struct turn t = {};

			keep_calling(&t, &calls[i], BIG_AT, len);
			_exit(0);
		}
		nap_ms(5 + 7 * turn % 40);
		kill(pid, SIGKILL);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		/* The remaining mappings work as before. */
		if (calls[i].prepare == prepare_map)
			ASSERT_EQ(0, map_small(BIG_AT, len, false));
		EXPECT_EQ(0, do_mprotect(BIG_AT, len, PROT_READ));
		EXPECT_EQ(0, do_mprotect(BIG_AT, len, RW));
		EXPECT_EQ(0, probe_store(BIG_AT + len - PAGE, turn));
		EXPECT_EQ(0, debug_check());
	}
}

/* ------------------------------------------------- in pieces, but complete */

/*
 * Two sharers change the protection of everything; the last change of one of
 * them stays.
 */
TEST_F(mshare, mprotect_in_pieces_is_complete)
{
	long begin = now_ms();
	int status, wrong, n;
	size_t i;
	pid_t pid;

	spew(ALWAYS_RELAX, "1");
	MAKE_REGION();
	ASSERT_EQ(0, map_small(BIG_AT, 16 * MEG, false));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (n = 0;; n++) {
			i = (n * 977 % 2048) * PAGE;
			if (do_mprotect(BIG_AT + i, 8 * MEG,
					n & 1 ? RW : PROT_READ))
				_exit(1);
		}
	}
	for (n = 0; n < 3 || now_ms() < begin + 2000; n++) {
		EXPECT_EQ(0, do_mprotect(BIG_AT, 16 * MEG, PROT_READ));
		EXPECT_EQ(0, do_mprotect(BIG_AT, 16 * MEG, RW));
	}
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(SIGKILL, status);

	EXPECT_EQ(0, do_mprotect(BIG_AT, 16 * MEG, PROT_READ));
	for (i = 0, wrong = 0; i < 16 * MEG; i += PAGE)
		wrong += probe_store(BIG_AT + i, 1) != SIGSEGV;
	EXPECT_EQ(0, wrong);
	EXPECT_EQ(0, do_mprotect(BIG_AT, 16 * MEG, RW));
	for (i = 0, wrong = 0; i < 16 * MEG; i += PAGE)
		wrong += probe_store(BIG_AT + i, 1) != 0;
	EXPECT_EQ(0, wrong);
	spew(ALWAYS_RELAX, "0");
}

/*
 * Few pages: the other sharer gets in after each mapping, on a quiet machine
 * every time. With 8 MiB, three rounds took more than 200 s there.
 */
#define HOLED	(2 * MEG)

/* A hole that appears during a call gives ENOMEM, and no worse error. */
TEST_F(mshare, hole_appears_meanwhile)
{
	long begin = now_ms(), err;
	int status, n;
	pid_t pid;

	spew(ALWAYS_RELAX, "1");
	MAKE_REGION();
	ASSERT_EQ(0, map_small(BIG_AT, HOLED, false));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (n = 0;; n++) {
			char *at = BIG_AT + (n * 977L * PAGE) % HOLED;

			if (do_munmap(at, PAGE) || map_anon(at, PAGE, RW))
				_exit(1);
		}
	}
	for (n = 0; n < 3 || now_ms() < begin + 2000; n++) {
		err = do_mprotect(BIG_AT, HOLED, n & 1 ? RW : PROT_READ);
		EXPECT_TRUE(err == 0 || err == -ENOMEM)
			TH_LOG("mprotect: %ld", err);
		err = neg(mlock(BIG_AT, HOLED));
		EXPECT_TRUE(err == 0 || err == -ENOMEM || err == -EAGAIN)
			TH_LOG("mlock: %ld", err);
		err = neg(munlock(BIG_AT, HOLED));
		EXPECT_TRUE(err == 0 || err == -ENOMEM)
			TH_LOG("munlock: %ld", err);
		err = do_madvise(BIG_AT, HOLED, MADV_POPULATE_READ);
		EXPECT_TRUE(err == 0 || err == -ENOMEM)
			TH_LOG("populate: %ld", err);
	}
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(SIGKILL, status);
	EXPECT_EQ(0, debug_check());
	spew(ALWAYS_RELAX, "0");
}

/* Whichever allocation fails, either everything is unmapped or nothing. */
TEST_F(mshare, munmap_fails_whole)
{
	const size_t len = 8 * MEG;
	char *at = BIG_AT + 3 * PAGE;
	int fd = failnth_open(), n;
	bool hit = true;
	size_t i;
	long err;

	if (fd < 0)
		SKIP(return, "the kernel cannot fail on purpose");
	MAKE_REGION();
	for (n = 1; hit && n < FAILNTH_MAX; n++) {
		/* A few pages are enough for all the tables. */
		ASSERT_EQ(0, map_anon(BIG_AT, len + 8 * PAGE, RW));
		for (i = 0; i < len; i += 64 * PAGE)
			ASSERT_EQ(0, probe_store(at + i, n));
		failnth_arm(fd, n);
		err = do_munmap(at, len);
		hit = failnth_hit(fd);
		EXPECT_TRUE(err == 0 || err == -ENOMEM)
			TH_LOG("munmap: %ld", err);
		for (i = 0; i < len; i += 64 * PAGE)
			EXPECT_EQ(err ? 0 : SIGBUS, probe_byte(at + i));
		EXPECT_EQ(0, probe_byte(at - PAGE));
		EXPECT_EQ(0, probe_byte(at + len));
	}
	/*
	 * One failure at a time: if the work in pieces fails, it is done in one
	 * piece.
	 */
	EXPECT_LE(3, n);
	EXPECT_FALSE(hit);
	close(fd);
}

/* A call is refused before anything has been unmapped. */
TEST_F(mshare, refused_mapping_over_a_large_one)
{
	struct rlimit was, none = {}, space;
	int fd = temp_file(BIG), ro, proc;
	char path[64];

	ASSERT_LE(0, fd);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ro = open(path, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, ro);
	proc = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, proc);
	MAKE_REGION();
	ASSERT_EQ(0, map_small(BIG_AT, BIG, false));

	EXPECT_EQ(-EACCES, map_fd(BIG_AT, BIG, RW, MAP_SHARED, ro, 0));
	EXPECT_GT(0, map_fd(BIG_AT, BIG, PROT_READ, MAP_PRIVATE, proc, 0));
	EXPECT_EQ(-EOPNOTSUPP, map_fd(BIG_AT, BIG, RW, MAP_PRIVATE |
				      MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0));
	EXPECT_EQ(-EEXIST, neg((long)mmap(BIG_AT, BIG, RW, MAP_PRIVATE |
				MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0)));
	ASSERT_EQ(0, getrlimit(RLIMIT_MEMLOCK, &was));
	ASSERT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &none));
	ASSERT_EQ(0, setresuid(-1, 65534, -1));
	EXPECT_GT(0, map_fd(BIG_AT, BIG, RW, MAP_PRIVATE | MAP_ANONYMOUS |
			    MAP_LOCKED, -1, 0));
	ASSERT_EQ(0, setresuid(-1, 0, -1));
	ASSERT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &was));
	/*
	 * A region may not be larger than the address space limit of the
	 * caller.
	 */
	ASSERT_EQ(0, getrlimit(RLIMIT_AS, &was));
	space = was;
	space.rlim_cur = 2 * BIG;
	ASSERT_EQ(0, setrlimit(RLIMIT_AS, &space));
	EXPECT_EQ(-ENOMEM, map_anon(BIG_AT, 4 * BIG, RW));
	ASSERT_EQ(0, setrlimit(RLIMIT_AS, &was));
	EXPECT_EQ(BIG / 1024, region_figure(self->name, "mshare-resident-kb"));

	/* A mapping that is accepted replaces the whole range. */
	EXPECT_EQ(0, map_fd(BIG_AT, BIG, RW, MAP_SHARED, fd, 0));
	EXPECT_EQ(0, region_figure(self->name, "mshare-resident-kb"));
	EXPECT_EQ(0, load(BIG_AT + BIG - PAGE));
	close(ro);
	close(proc);
	close(fd);
}

TEST_F(mshare, mremap_moves_64_mib_at_most)
{
	char *to = self->addr + 512 * MEG;

	MAKE_REGION();
	ASSERT_EQ(0, map_anon(BIG_AT, BIG + PAGE, RW));
	ASSERT_EQ(0, probe_store(BIG_AT, 7));
	EXPECT_EQ(-EOPNOTSUPP, do_mremap(BIG_AT, BIG + PAGE, BIG + PAGE,
					 MREMAP_MAYMOVE | MREMAP_FIXED, to));
	EXPECT_EQ(-EOPNOTSUPP, do_mremap(BIG_AT, PAGE, BIG + PAGE,
					 MREMAP_MAYMOVE | MREMAP_FIXED, to));
	EXPECT_EQ(-EOPNOTSUPP, do_mremap(BIG_AT, BIG + PAGE, BIG + PAGE,
					 MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL));
	/* Another mapping is in the way of growing in place. */
	ASSERT_EQ(0, map_anon(BIG_AT + BIG + PAGE, PAGE, PROT_READ));
	EXPECT_EQ(-EOPNOTSUPP, do_mremap(BIG_AT, BIG + PAGE, BIG + 9 * PAGE,
					 MREMAP_MAYMOVE, NULL));
	EXPECT_EQ(7, load(BIG_AT));

	/* Growing in place and shrinking always work. */
	ASSERT_EQ(0, do_munmap(BIG_AT + BIG + PAGE, PAGE));
	EXPECT_EQ((long)BIG_AT, do_mremap(BIG_AT, BIG + PAGE, 3 * BIG, 0, NULL));
	EXPECT_EQ((long)BIG_AT, do_mremap(BIG_AT, 3 * BIG, BIG, 0, NULL));
	EXPECT_EQ(SIGBUS, probe_byte(BIG_AT + BIG));
	EXPECT_EQ((long)to, do_mremap(BIG_AT, BIG, BIG,
				      MREMAP_MAYMOVE | MREMAP_FIXED, to));
	EXPECT_EQ(7, load(to));
	EXPECT_EQ(0, debug_check());
}

/* Many small mappings take many pieces; none of them remains. */
TEST_F(mshare, many_small_mappings_are_unmapped)
{
	size_t i;

	MAKE_REGION();
	for (i = 0; i < 300; i++)
		ASSERT_EQ(0, map_anon(BIG_AT + 2 * i * PAGE, PAGE,
				      i & 1 ? RW : PROT_READ));
	EXPECT_EQ(0, do_munmap(BIG_AT + PAGE, 598 * PAGE));
	EXPECT_EQ(0, probe_byte(BIG_AT));
	for (i = 1; i < 300; i++)
		EXPECT_EQ(SIGBUS, probe_byte(BIG_AT + 2 * i * PAGE));
	EXPECT_EQ(0, debug_check());
}

int main(int argc, char **argv)
{
	return mshare_main(argc, argv);
}
