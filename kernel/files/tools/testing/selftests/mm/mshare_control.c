// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare: negative controls.  The debug kernel can leave out one safety measure
 * at a time. Each test shows that the usual checks notice when the measure is
 * missing, and that they find nothing when it is there.
 *
 * The faults that are caused here do no harm: stale entries point to pages that
 * stay, or are only read through; pins are taken and put back, but nothing is
 * written through them.  Two cases leave a sharer with an entry to a freed
 * table: the collapse of a file's pages, where the sharer reads once more
 * through its TLB, and the last case, which touches nothing and detaches.  They
 * run only when MSHARE_CONTROL_TABLES is set, because the kernel cannot be
 * trusted after a failure in the middle of them.
 */
#include "mshare_helpers.h"

#include "mshare_fuzz.h"
#include "mshare_hazard.h"

#define KNOB_FANOUT	MSHARE_DEBUG "skip_tlb_fanout"
#define KNOB_PIN	MSHARE_DEBUG "skip_table_pin"
#define KNOB_GUP	MSHARE_DEBUG "gup_fast_ignore_ro"

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

FIXTURE(knobs)
{
	char name[128];
	char *addr;
	size_t len;
	int names_before;
};

static void knobs_off(void)
{
	spew(KNOB_FANOUT, "0");
	spew(KNOB_PIN, "0");
	spew(KNOB_GUP, "0");
}

FIXTURE_SETUP(knobs)
{
	probe_init();
	knobs_off();
	self->len = granule_size();
	ASSERT_NE(0UL, self->len);
	self->addr = slot_addr(self->len, slot_of_name(_metadata->name));
	snprintf(self->name, sizeof(self->name), MSHARE_PREFIX "%s",
		 _metadata->name);
	self->names_before = region_names(true);
}

FIXTURE_TEARDOWN_PARENT(knobs)
{
	/* Switch off all knobs, whatever the result of the test. */
	_metadata->trigger = 0;
	knobs_off();
	EXPECT_TRUE(WAIT_FOR(group_members() == 0, 10000));
	EXPECT_EQ(self->names_before, region_names(true));
	EXPECT_TRUE(WAIT_FOR(debug_regions() <= self->names_before, 10000));
	EXPECT_EQ(0, debug_check());
}

/*
 * Rounds of a hazard with a spinning reader on the other CPU. Return: the
 * number of rounds with a stale access, or a negative errno.
 */
static long stale_rounds(const char *name, char *addr, size_t len,
			 const int cpu[2], bool protect, int rounds)
{
	struct spin *s = spin_alloc();
	int status, fd, i;
	pid_t reader;
	long ret;

	if (!s || pin_to(cpu[0]))
		return -ENODEV;
	fd = temp_file(PAGE * (rounds + 1));
	if (fd < 0)
		return fd;
	ret = sys_mshare(name, addr, len, O_CREAT | O_EXCL | O_RDWR, 0600);
	if (!ret)
		ret = map_fd(addr, PAGE * (rounds + 1), RW, MAP_PRIVATE, fd, 0);
	if (ret)
		return ret;
	reader = spin_fork(s, cpu[1], NULL, NULL);
	if (!WAIT_FOR(READ_ONCE(s->ready), 15000))
		return -ETIME;
	for (i = 1; i <= rounds && !ret; i++) {
		char *at = addr + i * PAGE;

		/*
		 * The page that a stale entry shows stays in the file or in the
		 * region, so no freed memory is read.
		 */
		if (!spin_begin(s, protect ? SPIN_LOAD_FAULTS : SPIN_LOAD_NEW,
				at, 1000 + i))
			ret = -ETIME;
		else if (protect)
			ret = do_mprotect(at, PAGE, PROT_NONE);
		else
			ret = probe_store(at, 1000 + i);
		spin_publish(s);
		if (!spin_end(s))
			ret = -ETIME;
	}
	spin_stop(s);
	waitpid(reader, &status, 0);
	if (!ret && status)
		ret = -ECHILD;
	if (!ret)
		ret = s->stale;
	close(fd);
	do_munmap(addr, len);
	sys_mshare_unlink(name);
	munmap(s, PAGE);
	return ret;
}

TEST_F(knobs, skipped_fanout_is_seen)
{
	const int rounds = 40;
	int cpu[2], protect;
	long stale;

	if (access(KNOB_FANOUT, W_OK))
		SKIP(return, "no " KNOB_FANOUT);
	if (!two_cpus(cpu))
		SKIP(return, "needs two CPUs");
	if (pti_on())
		SKIP(return, "page-table isolation hides it");
	for (protect = 0; protect < 2; protect++) {
		stale = stale_rounds(self->name, self->addr, self->len,
				     cpu, protect, rounds);
		EXPECT_EQ(0, stale)
			TH_LOG("with the fan-out, protect %d", protect);
		ASSERT_EQ(0, spew(KNOB_FANOUT, "1"));
		stale = stale_rounds(self->name, self->addr, self->len,
				     cpu, protect, rounds);
		ASSERT_EQ(0, spew(KNOB_FANOUT, "0"));
		TH_LOG("protect %d: %ld of %d rounds stale without it",
		       protect, stale, rounds);
		EXPECT_LT(rounds / 2, stale);
		stale = stale_rounds(self->name, self->addr, self->len,
				     cpu, protect, rounds);
		EXPECT_EQ(0, stale)
			TH_LOG("and with it again, protect %d", protect);
	}
}

/* No CPU is interrupted here, with or without the fan-out. */
TEST_F(knobs, skipped_fanout_is_seen_after_idling)
{
	const int rounds = 40;
	int cpu[2], skip;
	struct peer p;
	long seen;

	if (access(KNOB_FANOUT, W_OK))
		SKIP(return, "no " KNOB_FANOUT);
	if (!two_cpus(cpu))
		SKIP(return, "needs two CPUs");
	if (pti_on())
		SKIP(return, "page-table isolation hides it");
	ASSERT_EQ(0, pin_to(cpu[0]));
	MAKE_SHARED();
	ASSERT_EQ(0, peer_call(&p, pf_pin_to, cpu[1]));
	for (skip = 0; skip < 2; skip++) {
		ASSERT_EQ(0, spew(KNOB_FANOUT, skip ? "1" : "0"));
		seen = idle_rounds(&p, self->addr, rounds);
		ASSERT_EQ(0, spew(KNOB_FANOUT, "0"));
		TH_LOG("%s the fan-out noticed in %ld of %d rounds",
		       skip ? "without" : "with", seen, rounds);
		if (skip) {
			EXPECT_LE(0, seen);
			EXPECT_GT(rounds / 2, seen);
		} else {
			EXPECT_EQ(rounds, seen);
		}
	}
	EXPECT_EQ(0, peer_stop(&p));
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
}

enum behind { BEHIND_PAGEOUT, BEHIND_MIGRATION, BEHIND_COLLAPSE,
	      BEHIND_WRITEBACK, BEHIND_ALL };

static const char * const behind_name[] = {
	"reclaim", "migration", "collapse of a file", "writeback",
};

/*
 * Rounds of a hazard of mshare_hazard.h, with a region and a reader of its own.
 * Return: the number of rounds that the reader noticed, or a negative errno.
 */
static long behind_rounds(enum behind what, const char *name, char *addr,
			  size_t len, const int cpu[2], int rounds, int fd,
			  const char *knob)
{
	struct hazard h = {
		.s = spin_alloc(), .addr = addr, .rounds = rounds, .knob = knob,
	};
	int status;
	pid_t reader;
	long ret;

	if (!h.s || pin_to(cpu[0]))
		return -ENODEV;
	ret = sys_mshare(name, addr, len, O_CREAT | O_EXCL | O_RDWR, 0600);
	if (ret)
		return ret;
	reader = spin_fork(h.s, cpu[1], NULL, NULL);
	if (!WAIT_FOR(READ_ONCE(h.s->ready), 15000))
		return -ETIME;
	switch (what) {
	case BEHIND_PAGEOUT:
		ret = pageout_rounds(&h);
		break;
	case BEHIND_MIGRATION:
		ret = migration_rounds(&h);
		break;
	case BEHIND_COLLAPSE:
		ret = file_collapse_rounds(&h, name);
		break;
	default:
		ret = writeback_rounds(&h, fd);
	}
	knobs_off();
	spin_stop(h.s);
	waitpid(reader, &status, 0);
	if (ret >= 0 && status)
		ret = -ECHILD;
	do_munmap(addr, len);
	sys_mshare_unlink(name);
	munmap(h.s, PAGE);
	return ret;
}

/*
 * Changes of entries by reverse mapping, with the same rounds and limits as the
 * tests of mshare_tlb have on this kernel.
 */
TEST_F(knobs, skipped_fanout_is_seen_behind_their_backs)
{
	const int rounds = 15;
	int cpu[2], swap, fd, what;
	struct loop_dev dev;
	long with, without;

	if (access(KNOB_FANOUT, W_OK))
		SKIP(return, "no " KNOB_FANOUT);
	if (!two_cpus(cpu))
		SKIP(return, "needs two CPUs");
	if (pti_on())
		SKIP(return, "page-table isolation hides it");
	swap = swap_begin();
	fd = disk_file(&dev, 1);
	for (what = 0; what < BEHIND_ALL; what++) {
		if ((what == BEHIND_PAGEOUT && swap < 0) ||
		    (what == BEHIND_WRITEBACK && fd < 0) ||
		    (what == BEHIND_MIGRATION && access(UNPOISON, W_OK)) ||
		    (what == BEHIND_COLLAPSE &&
		     !getenv("MSHARE_CONTROL_TABLES"))) {
			TH_LOG("%s: not available here", behind_name[what]);
			continue;
		}
		with = behind_rounds(what, self->name, self->addr, self->len,
				     cpu, rounds, fd, NULL);
		without = behind_rounds(what, self->name, self->addr, self->len,
					cpu, rounds, fd, KNOB_FANOUT);
		TH_LOG("%s: noticed in %ld of %d rounds, without the fan-out in %ld",
		       behind_name[what], with, rounds, without);
		EXPECT_LE(what == BEHIND_PAGEOUT ? rounds / 2 : rounds, with);
		EXPECT_LE(0, without);
		EXPECT_GT(rounds / 2, without);
	}
	if (fd >= 0) {
		close(fd);
		EXPECT_EQ(0, disk_file_end(&dev));
	}
	if (swap > 0)
		EXPECT_EQ(0, swap_end());
}

/*
 * Random operations find it too, without looking for it.  Few kinds are used,
 * none of which frees anything: see PLANT_BENIGN.
 */
TEST_F_TIMEOUT(knobs, skipped_fanout_is_found_at_random, 400)
{
	struct fuzz f = {
		.name = self->name, .region = self->addr,
		.len = fuzz_len(self->len),
		.seed = 20220401, .steps = 5000, .plant = PLANT_BENIGN,
	}, without = f;
	int cpu[2];

	if (access(KNOB_FANOUT, W_OK))
		SKIP(return, "no " KNOB_FANOUT);
	if (!two_cpus(cpu))
		SKIP(return, "needs two CPUs");
	if (pti_on())
		SKIP(return, "page-table isolation hides it");
	ASSERT_EQ(0, run_concurrent(&f));
	EXPECT_EQ(0, f.wrong_at)
		TH_LOG("with the fan-out: %s", f.why);
	ASSERT_EQ(0, spew(KNOB_FANOUT, "1"));
	without.steps = 1000000;
	without.ms = 120000;
	EXPECT_EQ(0, run_concurrent(&without));
	ASSERT_EQ(0, spew(KNOB_FANOUT, "0"));
	EXPECT_LT(0, without.wrong_at);
	TH_LOG("after %ld steps: %s", without.done, without.why);
}

TEST_F(knobs, ignored_ro_in_gup_fast_is_seen)
{
	static const int fast[] = { GUP_FAST_BENCHMARK, PIN_FAST_BENCHMARK };
	long a = (long)self->addr;
	struct peer p;
	unsigned int i;

	if (access(KNOB_GUP, W_OK))
		SKIP(return, "no " KNOB_GUP);
	if (access(GUP_TEST_FILE, R_OK | W_OK))
		SKIP(return, "no " GUP_TEST_FILE);
	ASSERT_EQ(0, peer_start(&p));
	ASSERT_EQ(0, sys_mshare(self->name, self->addr, self->len,
				O_CREAT | O_EXCL | O_RDWR, 0600));
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
	ASSERT_EQ(0, do_madvise(self->addr, MEG, MADV_POPULATE_WRITE));
	ASSERT_EQ(0, peer_call(&p, pf_mshare, (long)self->name, a,
			       (long)self->len, O_RDONLY));
	for (i = 0; i < ARRAY_SIZE(fast); i++) {
		EXPECT_EQ(0, peer_call(&p, pf_gup_test, fast[i], a, 4,
				       FOLL_WRITE));
		ASSERT_EQ(0, spew(KNOB_GUP, "1"));
		EXPECT_EQ(4, peer_call(&p, pf_gup_test, fast[i], a, 4,
				       FOLL_WRITE));
		ASSERT_EQ(0, spew(KNOB_GUP, "0"));
		EXPECT_EQ(0, peer_call(&p, pf_gup_test, fast[i], a, 4,
				       FOLL_WRITE));
	}
	EXPECT_EQ(0, peer_stop(&p));
}

/* The same as a user would do it: read a device into a read-only window. */
TEST_F(knobs, ignored_ro_in_o_direct_is_seen)
{
	long a = (long)self->addr;
	struct loop_dev dev;
	struct peer p;
	int ret;

	if (access(KNOB_GUP, W_OK))
		SKIP(return, "no " KNOB_GUP);
	ret = loop_open(&dev, MEG);
	if (ret)
		SKIP(return, "no loop device: %s", strerror(-ret));
	ASSERT_EQ(0, peer_start(&p));
	ASSERT_EQ(0, sys_mshare(self->name, self->addr, self->len,
				O_CREAT | O_EXCL | O_RDWR, 0600));
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
	ASSERT_EQ(0, probe_store(self->addr, 1));
	ASSERT_EQ(0, peer_call(&p, pf_mshare, (long)self->name, a,
			       (long)self->len, O_RDONLY));
	EXPECT_EQ(-EFAULT, peer_call(&p, pf_pread_direct, (long)dev.path, a,
				     PAGE, 0));
	EXPECT_EQ(1, load(self->addr));
	ASSERT_EQ(0, spew(KNOB_GUP, "1"));
	EXPECT_EQ((long)PAGE, peer_call(&p, pf_pread_direct, (long)dev.path, a,
					PAGE, 0));
	ASSERT_EQ(0, spew(KNOB_GUP, "0"));
	/* The device's zeroes, in a page that the reader may not write. */
	EXPECT_EQ(0, load(self->addr));
	loop_close(&dev);
	EXPECT_EQ(0, peer_stop(&p));
}

/* 1 if the kernel's own check finds a fault in the region's tables. */
static long check_after_last_munmap(const char *name, char *addr, size_t len,
				    bool skip_pin)
{
	long ret;

	ret = sys_mshare(name, addr, len, O_CREAT | O_EXCL | O_RDWR, 0600);
	if (!ret)
		ret = map_anon(addr, PAGE, RW);
	if (!ret)
		ret = probe_store(addr, 1);
	if (ret)
		return ret < 0 ? ret : -EFAULT;
	if (skip_pin)
		spew(KNOB_PIN, "1");
	ret = do_munmap(addr, PAGE);
	spew(KNOB_PIN, "0");
	if (!ret)
		ret = debug_check();
	/* Nothing has been looked up in the window since. */
	do_munmap(addr, len);
	sys_mshare_unlink(name);
	return ret;
}

TEST_F(knobs, skipped_table_pin_is_seen)
{
	if (access(KNOB_PIN, W_OK) || !debug_kernel())
		SKIP(return, "no " KNOB_PIN);
	EXPECT_EQ(0, check_after_last_munmap(self->name, self->addr, self->len,
					     false));
	if (!getenv("MSHARE_CONTROL_TABLES"))
		SKIP(return, "MSHARE_CONTROL_TABLES is not set");
	EXPECT_EQ(1, check_after_last_munmap(self->name, self->addr, self->len,
					     true));
	EXPECT_EQ(0, check_after_last_munmap(self->name, self->addr, self->len,
					     false));
}

int main(int argc, char **argv)
{
	return mshare_main(argc, argv);
}
