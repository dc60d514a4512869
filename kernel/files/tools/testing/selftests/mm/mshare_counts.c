// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare: what sharing saves, in counts and not in seconds: page faults that
 * are not taken, and tables that do not exist.
 *
 * MSHARE_COUNTS_MB sets the size that is touched, MSHARE_COUNTS_SHARERS the
 * number of sharers that touch it.  By default it is 256 MiB (64 MiB on the
 * debug kernel), or as much as half of the free memory allows.
 */
#include "mshare_helpers.h"

static size_t test_size(void)
{
	const char *env = getenv("MSHARE_COUNTS_MB");
	long kb = meminfo_kb("MemAvailable") / 2;
	size_t size = env ? strtoul(env, NULL, 0) * MEG :
		      scaled(256, 64) * MEG;

	if (!env && size > (size_t)kb * 1024)
		size = (size_t)kb * 1024 & ~(64 * MEG - 1);
	return size < 64 * MEG ? 64 * MEG : size;
}

static int test_sharers(void)
{
	const char *env = getenv("MSHARE_COUNTS_SHARERS");

	return env ? atoi(env) : 4;
}

static long faults(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return ru.ru_minflt + ru.ru_majflt;
}

struct pass {
	long faults;
	long sum;
};

static struct pass pass;
static long warm_up;

/*
 * Touch each page and count only the faults of that.  The first turn of the
 * loop brings in the code, the stack and the counter.
 */
static void touch_pages(struct pass *out, char *at, size_t len, bool write)
{
	char *where[2] = { (char *)&warm_up, at };
	size_t size[2] = { sizeof(warm_up), len }, off;
	long before;
	int turn;

	for (turn = 0; turn < 2; turn++) {
		out->sum = 0;
		before = faults();
		for (off = 0; off < size[turn]; off += PAGE) {
			if (write)
				WRITE_ONCE(*(long *)(where[turn] + off),
					   (long)off);
			else
				out->sum += READ_ONCE(*(long *)(where[turn] +
								off));
		}
		out->faults = faults() - before;
	}
}

PEER_FN(pf_touch)
{
	PEER_UNUSED();
	touch_pages(&pass, (char *)a, b, c);
	peer_val = pass.sum;
	return pass.faults;
}

static long sum_of(size_t len)
{
	long n = len / PAGE;

	return PAGE * (n * (n - 1) / 2);
}

/* Sharers 2 to N touch resident pages: not one page fault. */
TEST_F(mshare, resident_pages_cost_no_fault)
{
	size_t size = test_size();
	int i, n = test_sharers();
	long before, grown, first, ret;
	struct peer *p;

	TH_LOG("%zu MiB, %d sharers", size / MEG, n);
	p = calloc(n, sizeof(*p));
	ASSERT_NE(NULL, p);
	for (i = 0; i < n; i++)
		ASSERT_EQ(0, peer_start(&p[i]));
	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, size, RW));
	/* Base pages, because the counts below are for the worst case. */
	do_madvise(self->addr, size, MADV_NOHUGEPAGE);
	touch_pages(&pass, self->addr, size, true);
	first = pass.faults;
	EXPECT_LE((long)(size / PAGE), first);

	for (i = 0; i < n; i++) {
		before = pagetables_kb();
		ASSERT_EQ(0, peer_call(&p[i], pf_mshare, (long)self->name,
				       (long)self->addr, (long)self->len,
				       i & 1 ? O_RDONLY : O_RDWR));
		ret = peer_call(&p[i], pf_touch, (long)self->addr, size,
				false);
		EXPECT_EQ(0, ret)
			TH_LOG("sharer %d took %ld faults", i + 2, ret);
		EXPECT_EQ(sum_of(size), p[i].val);
		grown = pagetables_kb() - before;
		EXPECT_GE(8, grown)
			TH_LOG("sharer %d: PageTables +%ld kB", i + 2, grown);
	}
	/* To write, as well. */
	EXPECT_EQ(0, peer_call(&p[0], pf_touch, (long)self->addr, size, true));
	TH_LOG("the first sharer took %ld faults, %d more took none", first, n);
	for (i = 0; i < n; i++)
		EXPECT_EQ(0, peer_stop(&p[i]));
	free(p);
}

/*
 * A forked sharer takes no faults in the window, and fork() copies no tables.
 */
TEST_F(mshare, forked_sharer_costs_no_fault)
{
	size_t size = test_size() / 2;
	struct pass *child = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS |
				  MAP_POPULATE, -1, 0);
	long before, grown;
	int i, status, pfd[2];
	char byte;
	pid_t pid;

	ASSERT_NE(MAP_FAILED, child);
	ASSERT_EQ(0, pipe(pfd));
	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, size, RW));
	do_madvise(self->addr, size, MADV_NOHUGEPAGE);
	touch_pages(&pass, self->addr, size, true);
	before = pagetables_kb();
	for (i = 0; i < 3; i++) {
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			touch_pages(child, self->addr, size, i & 1);
			if (write(pfd[1], "x", 1) != 1)
				_exit(1);
			pause();
		}
		ASSERT_EQ(1, read(pfd[0], &byte, 1));
		EXPECT_EQ(0, child->faults);
		if (!(i & 1))
			EXPECT_EQ(sum_of(size), child->sum);
		grown = pagetables_kb() - before;
		/*
		 * A process has few tables, and none of them belongs to the
		 * region.
		 */
		EXPECT_GT(96, grown)
			TH_LOG("PageTables +%ld kB", grown);
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
	}
	close(pfd[0]);
	close(pfd[1]);
}

/* What one sharer maps is mapped for all: one fault per page in total. */
TEST_F(mshare, one_fault_per_page_in_all)
{
	size_t size = 16 * MEG;
	struct peer p;
	long n, m;

	ASSERT_EQ(0, peer_start(&p));
	MAKE_REGION();
	ATTACH_PEER(&p, O_RDWR);
	ASSERT_EQ(0, map_anon(self->addr, size, RW));
	do_madvise(self->addr, size, MADV_NOHUGEPAGE);
	/* One half here, then everything in the other, then everything here. */
	touch_pages(&pass, self->addr, size / 2, true);
	n = pass.faults;
	m = peer_call(&p, pf_touch, (long)self->addr, size, true);
	EXPECT_EQ((long)(size / 2 / PAGE), n);
	EXPECT_EQ((long)(size / 2 / PAGE), m);
	touch_pages(&pass, self->addr, size, true);
	EXPECT_EQ(0, pass.faults);
	EXPECT_TRUE(resident_is(self->name, (long)(size / 1024)));
	EXPECT_EQ(0, peer_stop(&p));
}

/* The same number of tables as touching each page, and a 512th of the time. */
static void touch_tables(char *at, size_t size)
{
	size_t off;

	for (off = 0; off < size; off += 2 * MEG)
		READ_ONCE(*(long *)(at + off));
}

/*
 * What n children add to PageTables while all of them live, after each has
 * touched the range (if there is one). Negative if that failed.
 */
static long tables_of_children(int n, char *at, size_t size)
{
	long before = pagetables_kb(), grown;
	int i, status, down[2], up[2], bad = 0;
	char byte;

	if (pipe(down) || pipe(up))
		return -errno;
	for (i = 0; i < n; i++) {
		pid_t pid = fork();

		if (pid < 0) {
			bad++;
			break;
		}
		if (pid)
			continue;
		close(down[1]);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (size)
			touch_tables(at, size);
		if (write(up[1], "x", 1) != 1)
			_exit(1);
		_exit(read(down[0], &byte, 1) != 0);
	}
	n = i;
	for (i = 0; i < n; i++)
		bad += read(up[0], &byte, 1) != 1;
	grown = pagetables_kb() - before;
	close(down[0]);
	close(down[1]);
	close(up[0]);
	close(up[1]);
	while (wait(&status) > 0)
		bad += status != 0;
	return bad ? -ECHILD : grown;
}

/*
 * At most two pages of tables for each further sharer, with a thousand sharers
 * (or as many as the debug kernel can run in some seconds).
 */
TEST_F(mshare, thousand_sharers_pagetables)
{
	const char *env = getenv("MSHARE_FORKS");
	int n = env ? atoi(env) : scaled(1000, 80);
	size_t size = 64 * MEG;
	long without, with, tables;

	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, size, RW));
	ASSERT_EQ(0, do_madvise(self->addr, size, MADV_POPULATE_WRITE));
	tables = region_figure(self->name, "mshare-pgtables-kb");

	/*
	 * So many small processes have tables of their own, too: compare a
	 * quarter.
	 */
	ASSERT_EQ(0, do_munmap(self->addr, self->len));
	without = tables_of_children(n / 4, NULL, 0) * 4;
	ASSERT_LT(0, without);
	ASSERT_EQ(0, sys_mshare(self->name, self->addr, self->len, O_RDWR, 0));
	with = tables_of_children(n, self->addr, size);
	ASSERT_LT(0, with);

	TH_LOG("%d processes: %ld kB of tables, with a window on %ld kB of them %ld kB",
	       n, without, tables, with);
	EXPECT_GE(8L * n, with - without);
	EXPECT_EQ(tables, region_figure(self->name, "mshare-pgtables-kb"));
	EXPECT_EQ(1, region_figure(self->name, "mshare-sharers"));
}

int main(int argc, char **argv)
{
	return mshare_main(argc, argv);
}
