// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare: mmap and its family inside a window act on the region.
 */
#include "mshare_helpers.h"

#include <glob.h>

#ifndef MFD_ALLOW_SEALING
#define MFD_ALLOW_SEALING 2
#endif

TEST_F(mshare, mmap_by_consumer_seen_by_donor)
{
	struct peer p;

	MAKE_SHARED();
	EXPECT_EQ(SIGBUS, probe_byte(self->addr));
	ASSERT_EQ(0, peer_call(&p, pf_map_anon, (long)self->addr, MEG, RW));
	ASSERT_EQ(0, peer_store(&p, self->addr, 7));
	EXPECT_EQ(7, load(self->addr));
	ASSERT_EQ(0, peer_call(&p, pf_map_shmem, (long)self->addr + 4 * MEG,
			       MEG, RW));
	EXPECT_EQ(0, probe_store(self->addr + 4 * MEG, 8));
	EXPECT_EQ(8, peer_see(&p, self->addr + 4 * MEG));

	/* A mapping belongs to the region: it stays when its creator exits. */
	EXPECT_EQ(0, peer_stop(&p));
	EXPECT_EQ(7, load(self->addr));
	EXPECT_EQ(8, load(self->addr + 4 * MEG));
	EXPECT_EQ(0, load(self->addr + PAGE));
}

TEST_F(mshare, mmap_fixed_replaces_for_all)
{
	struct peer p;

	MAKE_SHARED();
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
	ASSERT_EQ(0, probe_store(self->addr, 1));
	ASSERT_EQ(0, probe_store(self->addr + MEG - PAGE, 2));
	ASSERT_EQ(1, peer_see(&p, self->addr));
	ASSERT_EQ(0, peer_call(&p, pf_map_anon, (long)self->addr, PAGE, RW));
	EXPECT_EQ(0, load(self->addr));
	EXPECT_EQ(2, load(self->addr + MEG - PAGE));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

/* A mapping may fill the window completely. */
TEST_F(mshare, mmap_whole_window)
{
	struct peer p;

	MAKE_SHARED();
	ASSERT_EQ(0, map_shmem(self->addr, self->len, RW));
	EXPECT_EQ(0, probe_store(self->addr + self->len - PAGE, 5));
	EXPECT_EQ(5, peer_see(&p, self->addr + self->len - PAGE));
	EXPECT_EQ(2, region_figure(self->name, "mshare-sharers"));
	EXPECT_EQ(0, peer_stop(&p));
}

TEST_F(mshare, mmap_populate)
{
	struct peer p;

	MAKE_SHARED();
	ASSERT_EQ(0, map_fd(self->addr, MEG, RW,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0));
	EXPECT_EQ(1, resident(self->addr));
	EXPECT_EQ(1, resident(self->addr + MEG - PAGE));
	EXPECT_TRUE(resident_is(self->name, 1024));
	EXPECT_EQ(0, peer_stop(&p));
}

static void *map_hint(void *hint, size_t len)
{
	return mmap(hint, len, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/*
 * Runtimes and allocators give a hint for each arena, and the memory that they
 * get must be private. So a hint never leads into a window, whether or not the
 * place is free.
 */
TEST_F(mshare, hint_without_fixed)
{
	char *hint = self->addr + 64 * MEG, *got;
	struct peer p;
	int zero;

	MAKE_SHARED();
	got = map_hint(hint, MEG);
	ASSERT_NE(MAP_FAILED, got);
	EXPECT_TRUE(got + MEG <= self->addr || got >= self->addr + self->len);
	ASSERT_EQ(0, probe_store(got, 3));
	EXPECT_EQ(SIGBUS, peer_load(&p, hint));
	EXPECT_EQ(0, region_figure(self->name, "mshare-resident-kb"));
	/* The first byte of the window, the last page, the whole window. */
	got = map_hint(self->addr, PAGE);
	EXPECT_TRUE(got + PAGE <= self->addr || got >= self->addr + self->len);
	got = map_hint(self->addr + self->len - PAGE, 2 * PAGE);
	EXPECT_TRUE(got + 2 * PAGE <= self->addr ||
		    got >= self->addr + self->len);
	/* The range is in use: the region keeps its mapping. */
	ASSERT_EQ(0, map_anon(hint, MEG, RW));
	ASSERT_EQ(0, probe_store(hint, 4));
	got = map_hint(hint, MEG);
	ASSERT_NE(MAP_FAILED, got);
	EXPECT_TRUE(got + MEG <= self->addr || got >= self->addr + self->len);
	EXPECT_EQ(0, load(got));
	EXPECT_EQ(4, load(hint));
	EXPECT_EQ(4, peer_see(&p, hint));
	/* Unsuitable for a region. It is a mapping of the process alone. */
	zero = open("/dev/zero", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, zero);
	got = mmap(hint + MEG, MEG, RW, MAP_PRIVATE, zero, 0);
	ASSERT_NE(MAP_FAILED, got);
	EXPECT_TRUE(got + MEG <= self->addr || got >= self->addr + self->len);
	close(zero);
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

/* A file in sysfs that maps the registers of a device; -1 if there is none. */
static int open_resource(void)
{
	glob_t found = {};
	int fd = -1;
	size_t i;

	glob("/sys/bus/pci/devices/*/resource[0-5]", 0, NULL, &found);
	for (i = 0; i < found.gl_pathc && fd < 0; i++) {
		void *at;

		fd = open(found.gl_pathv[i], O_RDWR | O_CLOEXEC);
		if (fd < 0)
			continue;
		at = mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0);
		if (at != MAP_FAILED) {
			munmap(at, PAGE);
			break;
		}
		close(fd);
		fd = -1;
	}
	globfree(&found);
	return fd;
}

/*
 * Only the call that maps a file shows that it cannot be in a region. The
 * existing mappings must not be lost by then.
 */
TEST_F(mshare, refused_file_replaces_nothing)
{
	void *at = self->addr + 2 * MEG;
	int fd = open_resource();
	struct peer p;

	if (fd < 0)
		SKIP(return, "no PCI device with memory to map");
	MAKE_SHARED();
	ASSERT_EQ(0, map_anon(at, 4 * PAGE, RW));
	ASSERT_EQ(0, probe_store(at + PAGE, 5));
	EXPECT_EQ(-EOPNOTSUPP, map_fd(at + PAGE, PAGE, RW, MAP_SHARED, fd, 0));
	EXPECT_EQ(5, load(at + PAGE));
	EXPECT_EQ(5, peer_see(&p, at + PAGE));
	EXPECT_EQ(0, peer_store(&p, at + PAGE, 6));
	/* The hole is still a hole. */
	EXPECT_EQ(-EOPNOTSUPP, map_fd(at + MEG, PAGE, RW, MAP_SHARED, fd, 0));
	EXPECT_EQ(SIGBUS, probe_byte(at + MEG));
	EXPECT_EQ(0, debug_check());
	close(fd);
	EXPECT_EQ(0, peer_stop(&p));
}

TEST_F(mshare, fixed_noreplace_eexist)
{
	struct peer p;
	void *at = self->addr + 2 * MEG;
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;

	MAKE_SHARED();
	ASSERT_EQ(at, mmap(at, MEG, RW, flags, -1, 0));
	ASSERT_EQ(0, probe_store(at, 6));
	EXPECT_EQ(MAP_FAILED, mmap(at + MEG / 2, MEG, RW, flags, -1, 0));
	EXPECT_EQ(EEXIST, errno);
	EXPECT_EQ(MAP_FAILED, mmap(at - PAGE, 2 * PAGE, RW, flags, -1, 0));
	EXPECT_EQ(EEXIST, errno);
	EXPECT_EQ(6, peer_see(&p, at));
	EXPECT_EQ(SIGBUS, peer_load(&p, at - PAGE));
	EXPECT_EQ(at - PAGE, mmap(at - PAGE, PAGE, RW, flags, -1, 0));
	EXPECT_EQ(0, peer_see(&p, at - PAGE));
	EXPECT_EQ(0, peer_stop(&p));
}

TEST_F(mshare, munmap_seen_by_all_sigbus)
{
	struct peer p;
	char *at = self->addr + 2 * MEG;
	int i;

	MAKE_SHARED();
	for (i = 0; i < 20; i++) {
		ASSERT_EQ(0, map_anon(at, 4 * MEG, RW));
		ASSERT_EQ(0, probe_store(at, i));
		ASSERT_EQ(0, probe_store(at + 2 * MEG, i));
		ASSERT_EQ(i, peer_see(&p, at));
		ASSERT_EQ(i, peer_see(&p, at + 2 * MEG));
		/* By each sharer in turn, until the slot is empty. */
		ASSERT_EQ(0, i & 1 ? do_munmap(at, 4 * MEG) :
				     peer_munmap(&p, at, 4 * MEG));
		EXPECT_EQ(SIGBUS, probe_byte(at));
		EXPECT_EQ(SIGBUS, peer_load(&p, at));
		EXPECT_EQ(BUS_ADRERR, p.fault.code);
		EXPECT_EQ(SIGBUS, peer_load(&p, at + 2 * MEG));
		ASSERT_EQ(0, debug_check());
	}
	/* A hole may be unmapped again, as everywhere. */
	EXPECT_EQ(0, do_munmap(at, 4 * MEG));
	EXPECT_EQ(0, peer_stop(&p));
}

TEST_F(mshare, whole_window_munmap_detaches)
{
	struct peer p;

	MAKE_SHARED();
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
	ASSERT_EQ(0, probe_store(self->addr, 12));
	ASSERT_EQ(0, do_munmap(self->addr, self->len));
	EXPECT_EQ(SIGSEGV, probe_byte(self->addr));
	EXPECT_EQ(SEGV_MAPERR, last_fault.code);
	EXPECT_EQ(NULL, self_maps_line(self->addr));
	EXPECT_EQ(1, region_figure(self->name, "mshare-sharers"));
	/* Only our window was removed, not the region's contents. */
	EXPECT_EQ(12, peer_see(&p, self->addr));

	/* The process can use the range again. */
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
	EXPECT_EQ(0, load(self->addr));
	EXPECT_EQ(12, peer_see(&p, self->addr));
	ASSERT_EQ(0, do_munmap(self->addr, MEG));

	/* Attach again, and unmap a range that is larger than the window. */
	ASSERT_EQ(0, sys_mshare(self->name, self->addr, self->len, O_RDWR, 0));
	EXPECT_EQ(12, load(self->addr));
	ASSERT_EQ(0, map_anon(self->addr - PAGE, PAGE, RW));
	ASSERT_EQ(0, do_munmap(self->addr - PAGE, self->len + 2 * PAGE));
	EXPECT_EQ(SIGSEGV, probe_byte(self->addr));
	EXPECT_EQ(SIGSEGV, probe_byte(self->addr - PAGE));
	EXPECT_EQ(12, peer_see(&p, self->addr));
	EXPECT_EQ(1, region_figure(self->name, "mshare-sharers"));
	EXPECT_EQ(0, peer_stop(&p));
}

/*
 * Each call across a border, below and above: EINVAL, and both the region and
 * the private memory next to it are unchanged.
 */
TEST_F(mshare, border_crossing_einval)
{
	char *edge[2] = { self->addr, self->addr + self->len };
	const int noreplace = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
	char *before, *line;
	char *at;
	int i;

	MAKE_REGION();
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, map_anon(edge[i], PAGE, RW));
		ASSERT_EQ(0, map_anon(edge[i] - PAGE, PAGE, RW));
		ASSERT_EQ(0, probe_store(edge[i], 1));
		ASSERT_EQ(0, probe_store(edge[i] - PAGE, 2));
	}
	line = self_maps_line(self->addr);
	ASSERT_NE(NULL, line);
	before = strdup(line);
	ASSERT_NE(NULL, before);

	for (i = 0; i < 2; i++) {
		at = edge[i] - PAGE;
		EXPECT_EQ(-EINVAL, map_anon(at, 2 * PAGE, RW));
		EXPECT_EQ(-EINVAL, map_shmem(at, 2 * PAGE, RW));
		EXPECT_EQ(-EINVAL, do_munmap(at, 2 * PAGE));
		EXPECT_EQ(-EINVAL, do_mprotect(at, 2 * PAGE, PROT_READ));
		EXPECT_EQ(-EINVAL, do_madvise(at, 2 * PAGE, MADV_DONTNEED));
		EXPECT_EQ(-EINVAL, neg(mlock(at, 2 * PAGE)));
		EXPECT_EQ(-EINVAL, neg(munlock(at, 2 * PAGE)));
		EXPECT_EQ(-EINVAL, neg(msync(at, 2 * PAGE, MS_SYNC)));
		EXPECT_EQ(-EINVAL, do_mremap(at, 2 * PAGE, 2 * PAGE,
					     MREMAP_MAYMOVE, NULL));
		EXPECT_EQ(-EINVAL, do_mremap(at, 2 * PAGE, PAGE, 0, NULL));
		/* In use and out of bounds at once: either error is right. */
		EXPECT_EQ(MAP_FAILED, mmap(at, 2 * PAGE, RW, noreplace, -1, 0));
		EXPECT_TRUE(errno == EINVAL || errno == EEXIST);
	}
	/* A part of the window together with everything next to it. */
	EXPECT_EQ(-EINVAL, do_munmap(self->addr - PAGE, 3 * PAGE));
	EXPECT_EQ(-EINVAL, do_munmap(self->addr + PAGE, self->len));
	EXPECT_EQ(-EINVAL, do_mprotect(self->addr - PAGE, self->len + PAGE,
				       PROT_READ));

	for (i = 0; i < 2; i++) {
		EXPECT_EQ(1, load(edge[i]));
		EXPECT_EQ(2, load(edge[i] - PAGE));
		EXPECT_EQ(0, probe_store(edge[i], 1));
		EXPECT_EQ(0, probe_store(edge[i] - PAGE, 2));
	}
	line = self_maps_line(self->addr);
	ASSERT_NE(NULL, line);
	EXPECT_STREQ(before, line);
	EXPECT_EQ(0, debug_check());
}

/* Two windows: one whole window and a part of the other also cross a border. */
TEST_F(mshare, border_crossing_second_window)
{
	char *second = self->addr + self->len;

	MAKE_REGION();
	ASSERT_EQ(0, sys_mshare(self->name2, second, self->granule,
				O_CREAT | O_EXCL | O_RDWR, 0600));
	ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
	ASSERT_EQ(0, map_anon(second, 2 * PAGE, RW));
	ASSERT_EQ(0, probe_store(self->addr, 1));
	ASSERT_EQ(0, probe_store(second, 2));
	EXPECT_EQ(-EINVAL, do_munmap(self->addr, self->len + PAGE));
	EXPECT_EQ(-EINVAL, map_anon(second - PAGE, 2 * PAGE, RW));
	EXPECT_EQ(-EINVAL, do_mremap(self->addr, PAGE, PAGE,
				     MREMAP_MAYMOVE | MREMAP_FIXED,
				     second + 8 * MEG));
	EXPECT_EQ(1, load(self->addr));
	EXPECT_EQ(2, load(second));
	EXPECT_EQ(1, region_figure(self->name, "mshare-sharers"));
	EXPECT_EQ(1, region_figure(self->name2, "mshare-sharers"));
	EXPECT_EQ(0, debug_check());
}

TEST_F(mshare, mprotect_ro_seen_by_all)
{
	struct peer p;

	MAKE_SHARED();
	ASSERT_EQ(0, map_anon(self->addr, 4 * PAGE, RW));
	ASSERT_EQ(0, probe_store(self->addr + PAGE, 1));
	ASSERT_EQ(0, peer_store(&p, self->addr + PAGE, 2));

	ASSERT_EQ(0, do_mprotect(self->addr + PAGE, PAGE, PROT_READ));
	EXPECT_EQ(SIGSEGV, peer_store(&p, self->addr + PAGE, 3));
	EXPECT_EQ(SEGV_ACCERR, p.fault.code);
	EXPECT_EQ(SIGSEGV, probe_store(self->addr + PAGE, 3));
	EXPECT_EQ(SEGV_ACCERR, last_fault.code);
	EXPECT_EQ(2, peer_see(&p, self->addr + PAGE));
	EXPECT_EQ(0, peer_store(&p, self->addr, 4));
	EXPECT_EQ(0, peer_store(&p, self->addr + 2 * PAGE, 5));

	ASSERT_EQ(0, peer_call(&p, pf_mprotect, (long)self->addr + PAGE, PAGE,
			       PROT_NONE));
	EXPECT_EQ(SIGSEGV, probe_byte(self->addr + PAGE));
	EXPECT_EQ(SEGV_ACCERR, last_fault.code);
	EXPECT_EQ(SIGSEGV, peer_load(&p, self->addr + PAGE));

	ASSERT_EQ(0, do_mprotect(self->addr, 4 * PAGE, RW));
	EXPECT_EQ(2, peer_see(&p, self->addr + PAGE));
	EXPECT_EQ(0, peer_store(&p, self->addr + PAGE, 6));
	EXPECT_EQ(6, load(self->addr + PAGE));

	/* Over a hole: ENOMEM, as everywhere. */
	EXPECT_EQ(-ENOMEM, do_mprotect(self->addr, 5 * PAGE, RW));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

static int called;

TEST_F(mshare, mprotect_exec)
{
	/* mov $42, %eax; ret */
	static const unsigned char code[] = { 0xb8, 42, 0, 0, 0, 0xc3 };
	int (*fn)(void) = (void *)self->addr;
	struct peer p;

	MAKE_SHARED();
	ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
	memcpy(self->addr, code, sizeof(code));
	EXPECT_EQ(SIGSEGV, PROBE(called = fn()));
	ASSERT_EQ(0, peer_call(&p, pf_mprotect, (long)self->addr, PAGE,
			       PROT_READ | PROT_EXEC));
	EXPECT_EQ(0, PROBE(called = fn()));
	EXPECT_EQ(42, called);
	/*
	 * A key for execute-only memory would belong to the caller, not the
	 * host.
	 */
	EXPECT_EQ(0, do_mprotect(self->addr, PAGE, PROT_EXEC));
	called = 0;
	EXPECT_EQ(0, PROBE(called = fn()));
	EXPECT_EQ(42, called);
	EXPECT_EQ(0, peer_stop(&p));
}

TEST_F(mshare, mremap_grow_move_inside)
{
	char *a = self->addr, *b = self->addr + 64 * MEG;
	struct peer p;
	long got;

	MAKE_SHARED();
	ASSERT_EQ(0, map_anon(a, 4 * PAGE, RW));
	ASSERT_EQ(0, probe_store(a, 1));
	ASSERT_EQ(0, probe_store(a + 3 * PAGE, 2));

	/* Grow in place. */
	ASSERT_EQ((long)a, do_mremap(a, 4 * PAGE, 8 * PAGE, 0, NULL));
	EXPECT_EQ(0, peer_see(&p, a + 7 * PAGE));
	EXPECT_EQ(2, peer_see(&p, a + 3 * PAGE));
	/* Shrink. */
	ASSERT_EQ((long)a, do_mremap(a, 8 * PAGE, 4 * PAGE, 0, NULL));
	EXPECT_EQ(SIGBUS, peer_load(&p, a + 4 * PAGE));
	EXPECT_EQ(2, peer_see(&p, a + 3 * PAGE));
	/* Move to a place that the caller chooses. */
	ASSERT_EQ((long)b, do_mremap(a, 4 * PAGE, 6 * PAGE,
				     MREMAP_MAYMOVE | MREMAP_FIXED, b));
	EXPECT_EQ(SIGBUS, peer_load(&p, a));
	EXPECT_EQ(SIGBUS, probe_byte(a + 3 * PAGE));
	EXPECT_EQ(1, peer_see(&p, b));
	EXPECT_EQ(2, load(b + 3 * PAGE));
	EXPECT_EQ(0, load(b + 5 * PAGE));
	/*
	 * Move to a place that the kernel chooses, which must be in the region.
	 */
	ASSERT_EQ(0, map_anon(b + 6 * PAGE, PAGE, PROT_READ));
	got = do_mremap(b, 6 * PAGE, 16 * PAGE, MREMAP_MAYMOVE, NULL);
	ASSERT_LT(0, got);
	EXPECT_NE((long)b, got);
	EXPECT_LE((long)self->addr, got);
	EXPECT_GE((long)(self->addr + self->len - 16 * PAGE), got);
	EXPECT_EQ(1, peer_see(&p, (void *)got));
	EXPECT_EQ(0, peer_see(&p, (void *)got + 15 * PAGE));
	EXPECT_EQ(SIGBUS, peer_load(&p, b));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

/* Whole tables move at once: the peer must not use the old ones. */
TEST_F(mshare, mremap_moves_tables)
{
	char *a = self->addr, *b = self->addr + 256 * MEG;
	struct peer p;

	MAKE_SHARED();
	ASSERT_EQ(0, map_anon(a, 16 * MEG, RW));
	ASSERT_EQ(0, probe_store(a, 1));
	ASSERT_EQ(0, probe_store(a + 2 * MEG, 2));
	ASSERT_EQ(0, probe_store(a + 16 * MEG - PAGE, 3));
	ASSERT_EQ(2, peer_see(&p, a + 2 * MEG));
	ASSERT_EQ((long)b, do_mremap(a, 16 * MEG, 16 * MEG,
				     MREMAP_MAYMOVE | MREMAP_FIXED, b));
	EXPECT_EQ(SIGBUS, peer_load(&p, a));
	EXPECT_EQ(SIGBUS, peer_load(&p, a + 2 * MEG));
	EXPECT_EQ(1, peer_see(&p, b));
	EXPECT_EQ(2, peer_see(&p, b + 2 * MEG));
	EXPECT_EQ(3, peer_see(&p, b + 16 * MEG - PAGE));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

TEST_F(mshare, mremap_past_region_end)
{
	char *end = self->addr + self->len, *at = end - 4 * PAGE;
	char *outside = self->addr + 2 * self->len, *mine;
	long got;

	MAKE_REGION();
	ASSERT_EQ(0, map_anon(at, 4 * PAGE, RW));
	ASSERT_EQ(0, probe_store(at, 5));
	EXPECT_EQ(-ENOMEM, do_mremap(at, 4 * PAGE, 5 * PAGE, 0, NULL));
	EXPECT_EQ(5, load(at));
	EXPECT_EQ(SIGSEGV, probe_byte(end));

	got = do_mremap(at, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE, NULL);
	ASSERT_LT(0, got);
	EXPECT_LE((long)self->addr, got);
	EXPECT_GE((long)(end - 8 * PAGE), got);
	EXPECT_EQ(5, load((void *)got));

	/* Neither out of the region nor into it. */
	EXPECT_EQ(-EINVAL, do_mremap((void *)got, 8 * PAGE, 8 * PAGE,
				     MREMAP_MAYMOVE | MREMAP_FIXED, outside));
	EXPECT_EQ(-EINVAL, do_mremap((void *)got, 8 * PAGE, 8 * PAGE,
				     MREMAP_MAYMOVE | MREMAP_FIXED,
				     end - 4 * PAGE));
	mine = mmap(NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, mine);
	*mine = 'm';
	EXPECT_EQ(-EINVAL, do_mremap(mine, PAGE, PAGE,
				     MREMAP_MAYMOVE | MREMAP_FIXED,
				     self->addr + MEG));
	EXPECT_EQ('m', *mine);
	EXPECT_EQ(SIGBUS, probe_byte(self->addr + MEG));
	EXPECT_EQ(SIGSEGV, probe_byte(outside));
	EXPECT_EQ(5, load((void *)got));

	/* The window itself cannot move, grow or be duplicated. */
	EXPECT_EQ(-EINVAL, do_mremap(self->addr, self->len, self->len,
				     MREMAP_MAYMOVE | MREMAP_FIXED, outside));
	EXPECT_GT(0, do_mremap(self->addr, self->len, 2 * self->len,
			       MREMAP_MAYMOVE, NULL));
	EXPECT_GT(0, do_mremap(self->addr, 0, self->len,
			       MREMAP_MAYMOVE | MREMAP_FIXED, outside));
	EXPECT_EQ(5, load((void *)got));
	EXPECT_EQ(SIGSEGV, probe_byte(outside));
	EXPECT_EQ(0, debug_check());
}

TEST_F(mshare, madvise_dontneed_free_remove_pageout)
{
	char *anon = self->addr, *shm = self->addr + 8 * MEG;
	struct peer p;
	long val;
	int i;

	MAKE_SHARED();
	ASSERT_EQ(0, map_anon(anon, MEG, RW));
	ASSERT_EQ(0, map_shmem(shm, MEG, RW));

	/* DONTNEED: gone for all sharers; shared memory comes back. */
	ASSERT_EQ(0, probe_store(anon, 1));
	ASSERT_EQ(0, probe_store(shm, 1));
	ASSERT_EQ(1, peer_see(&p, anon));
	ASSERT_EQ(1, peer_see(&p, shm));
	ASSERT_EQ(0, do_madvise(anon, MEG, MADV_DONTNEED));
	ASSERT_EQ(0, do_madvise(shm, MEG, MADV_DONTNEED));
	EXPECT_EQ(0, peer_see(&p, anon));
	EXPECT_EQ(1, peer_see(&p, shm));

	/* REMOVE: shared memory too. */
	ASSERT_EQ(0, peer_call(&p, pf_madvise, (long)shm, MEG, MADV_REMOVE));
	EXPECT_EQ(0, load(shm));
	EXPECT_EQ(0, peer_see(&p, shm));

	/* FREE: the old value or zero, and a later store stays. */
	ASSERT_EQ(0, probe_store(anon, 2));
	ASSERT_EQ(0, do_madvise(anon, MEG, MADV_FREE));
	val = peer_see(&p, anon);
	EXPECT_TRUE(val == 0 || val == 2);
	ASSERT_EQ(0, peer_store(&p, anon, 3));
	ASSERT_EQ(0, do_madvise(anon, MEG, MADV_PAGEOUT));
	EXPECT_EQ(3, load(anon));

	/* PAGEOUT and COLD: nothing is lost, with swap or without. */
	for (i = 0; i < 256; i++) {
		ASSERT_EQ(0, probe_store(anon + i * PAGE, i));
		ASSERT_EQ(0, probe_store(shm + i * PAGE, 1000 + i));
	}
	ASSERT_EQ(0, do_madvise(anon, MEG, MADV_COLD));
	ASSERT_EQ(0, do_madvise(anon, MEG, MADV_PAGEOUT));
	ASSERT_EQ(0, peer_call(&p, pf_madvise, (long)shm, MEG, MADV_PAGEOUT));
	for (i = 0; i < 256; i++) {
		ASSERT_EQ(i, peer_see(&p, anon + i * PAGE));
		ASSERT_EQ(1000 + i, load(shm + i * PAGE));
	}

	/* POPULATE, and the error for a hole. */
	ASSERT_EQ(0, do_madvise(anon, MEG, MADV_DONTNEED));
	EXPECT_EQ(0, resident(anon));
	EXPECT_EQ(0, do_madvise(anon, PAGE, MADV_POPULATE_READ));
	EXPECT_EQ(0, do_madvise(anon + PAGE, PAGE, MADV_POPULATE_WRITE));
	EXPECT_EQ(1, resident(anon + PAGE));
	EXPECT_EQ(0, resident(anon + 2 * PAGE));
	EXPECT_EQ(-ENOMEM, do_madvise(anon + MEG, PAGE, MADV_POPULATE_WRITE));
	EXPECT_EQ(-ENOMEM, do_madvise(anon + MEG, PAGE, MADV_DONTNEED));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

/* Advice that does not apply to a region is refused. */
TEST_F(mshare, madvise_refused)
{
	static const int refused[] = {
		MADV_DONTFORK, MADV_WIPEONFORK, MADV_MERGEABLE,
	};
	unsigned int i;
	long ret;

	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
	ASSERT_EQ(0, probe_store(self->addr, 1));
	for (i = 0; i < ARRAY_SIZE(refused); i++) {
		ret = do_madvise(self->addr, MEG, refused[i]);
		EXPECT_TRUE(ret == -EINVAL || ret == -EOPNOTSUPP)
			TH_LOG("advice %d: %ld", refused[i], ret);
		ret = do_madvise(self->addr, self->len, refused[i]);
		EXPECT_TRUE(ret == -EINVAL || ret == -EOPNOTSUPP)
			TH_LOG("advice %d, whole window: %ld", refused[i], ret);
	}
	EXPECT_EQ(1, load(self->addr));
}

PEER_FN(pf_mlock_as_nobody)
{
	struct rlimit rl = { .rlim_cur = c, .rlim_max = c };

	PEER_UNUSED();
	if (setrlimit(RLIMIT_MEMLOCK, &rl))
		return -errno;
	if (setresuid(65534, 65534, 65534))
		return -errno;
	return neg(mlock((void *)a, b));
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

TEST_F(mshare, mlock_limits)
{
	long locked = self_status("VmLck");
	struct peer p;

	MAKE_SHARED();
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
	/*
	 * Locking populates the pages, and is counted in the region, not in the
	 * caller.
	 */
	ASSERT_EQ(0, neg(mlock(self->addr, 16 * PAGE)));
	EXPECT_EQ(1, resident(self->addr));
	EXPECT_EQ(1, resident(self->addr + 15 * PAGE));
	EXPECT_EQ(0, resident(self->addr + 16 * PAGE));
	EXPECT_EQ(locked, self_status("VmLck"));
	EXPECT_EQ(-EINVAL, do_madvise(self->addr, PAGE, MADV_DONTNEED));
	ASSERT_EQ(0, peer_call(&p, pf_munlock, (long)self->addr, MEG));
	EXPECT_EQ(0, do_madvise(self->addr, PAGE, MADV_DONTNEED));

	/* The caller's limit applies to what the region has locked. */
	EXPECT_EQ(-ENOMEM, peer_call(&p, pf_mlock_as_nobody, (long)self->addr,
				     16 * PAGE, 8 * PAGE));
	EXPECT_EQ(0, peer_call(&p, pf_mlock, (long)self->addr, 8 * PAGE));
	EXPECT_EQ(-ENOMEM, peer_call(&p, pf_mlock, (long)self->addr + 8 * PAGE,
				     PAGE));
	EXPECT_EQ(0, peer_call(&p, pf_munlock, (long)self->addr, 8 * PAGE));
	EXPECT_EQ(0, peer_call(&p, pf_mlock, (long)self->addr + 8 * PAGE,
			       PAGE));
	/* A hole. */
	EXPECT_EQ(-ENOMEM, neg(mlock(self->addr + 2 * MEG, PAGE)));
	EXPECT_EQ(-ENOMEM, neg(munlock(self->addr + 2 * MEG, PAGE)));
	EXPECT_EQ(0, neg(mlockall(MCL_CURRENT)));
	EXPECT_EQ(0, neg(munlockall()));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

TEST_F(mshare, msync_file)
{
	struct peer p;
	long val = 0;
	int fd;

	MAKE_SHARED();
	fd = temp_file(MEG);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, map_fd(self->addr, MEG, RW, MAP_SHARED, fd, 0));
	ASSERT_EQ(0, peer_store(&p, self->addr + PAGE, 77));
	EXPECT_EQ(0, neg(msync(self->addr, MEG, MS_SYNC)));
	EXPECT_EQ(0, neg(msync(self->addr, MEG, MS_ASYNC)));
	EXPECT_EQ(8, pread(fd, &val, 8, PAGE));
	EXPECT_EQ(77, val);
	val = 78;
	EXPECT_EQ(8, pwrite(fd, &val, 8, 2 * PAGE));
	EXPECT_EQ(78, peer_see(&p, self->addr + 2 * PAGE));
	EXPECT_EQ(-ENOMEM, neg(msync(self->addr + MEG, PAGE, MS_SYNC)));
	EXPECT_EQ(-ENOMEM, neg(msync(self->addr, 2 * MEG, MS_SYNC)));
	close(fd);
	EXPECT_EQ(78, load(self->addr + 2 * PAGE));
	EXPECT_EQ(0, peer_stop(&p));
}

TEST_F(mshare, mincore_across_border)
{
	char *edge = self->addr;
	unsigned char vec[4];

	ASSERT_EQ(0, map_anon(edge - 2 * PAGE, 2 * PAGE, RW));
	MAKE_REGION();
	ASSERT_EQ(0, map_anon(edge, 2 * PAGE, RW));
	ASSERT_EQ(0, probe_store(edge - 2 * PAGE, 1));
	ASSERT_EQ(0, probe_store(edge + PAGE, 1));
	/* Each side alone works, across the border nothing does. */
	memset(vec, 0xff, sizeof(vec));
	EXPECT_EQ(-EINVAL, neg(mincore(edge - 2 * PAGE, 4 * PAGE, vec)));
	EXPECT_EQ(-EINVAL, neg(mincore(edge + self->len - PAGE, 2 * PAGE,
				       vec)));
	ASSERT_EQ(0, neg(mincore(edge - 2 * PAGE, 2 * PAGE, vec)));
	EXPECT_EQ(1, vec[0] & 1);
	EXPECT_EQ(0, vec[1] & 1);
	ASSERT_EQ(0, neg(mincore(edge, 2 * PAGE, vec)));
	EXPECT_EQ(0, vec[0] & 1);
	EXPECT_EQ(1, vec[1] & 1);
	EXPECT_EQ(-ENOMEM, neg(mincore(edge, 4 * PAGE, vec)));
	EXPECT_EQ(-ENOMEM, resident(edge + MEG));

	/* A page that another sharer has touched is mapped for all. */
	EXPECT_EQ(0, resident(edge));
	if (!fork()) {
		*edge = 1;
		_exit(0);
	}
	wait(NULL);
	EXPECT_EQ(1, resident(edge));
}

TEST_F(mshare, private_file_write_shared)
{
	struct peer p;
	long val = 5;
	int fd;

	MAKE_SHARED();
	fd = temp_file(4 * PAGE);
	ASSERT_LE(0, fd);
	ASSERT_EQ(8, pwrite(fd, &val, 8, 0));
	ASSERT_EQ(8, pwrite(fd, &val, 8, PAGE));
	ASSERT_EQ(0, map_fd(self->addr, 4 * PAGE, RW, MAP_PRIVATE, fd, 0));
	EXPECT_EQ(5, load(self->addr));
	EXPECT_EQ(5, peer_see(&p, self->addr));
	EXPECT_EQ(5, peer_see(&p, self->addr + PAGE));

	/* One copy, which all sharers see; the file keeps its content. */
	ASSERT_EQ(0, peer_store(&p, self->addr, 6));
	EXPECT_EQ(6, load(self->addr));
	EXPECT_EQ(0, probe_store(self->addr + 8, 7));
	EXPECT_EQ(0, peer_load(&p, self->addr + 8));
	EXPECT_EQ(7, p.val);
	EXPECT_EQ(8, pread(fd, &val, 8, 0));
	EXPECT_EQ(5, val);

	/* A page that was not written to still follows the file. */
	val = 9;
	ASSERT_EQ(8, pwrite(fd, &val, 8, 0));
	ASSERT_EQ(8, pwrite(fd, &val, 8, PAGE));
	EXPECT_EQ(6, peer_see(&p, self->addr));
	EXPECT_EQ(9, peer_see(&p, self->addr + PAGE));
	close(fd);
	EXPECT_EQ(0, peer_stop(&p));
}

TEST_F(mshare, get_unmapped_area_avoids_window)
{
	char *end = self->addr + self->len, *p;
	unsigned long size;
	int i;

	MAKE_REGION();
	/* A hint that would reach into the window from below. */
	p = map_hint(self->addr - PAGE, 2 * PAGE);
	ASSERT_NE(MAP_FAILED, p);
	EXPECT_TRUE(p + 2 * PAGE <= self->addr || p >= end);
	/* Larger and larger, without touching any of it. */
	for (size = MEG, i = 0; i < 24; i++, size *= 2) {
		p = mmap(NULL, size, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (p == MAP_FAILED)
			break;
		EXPECT_TRUE(p + size <= self->addr || p >= end);
	}
	EXPECT_LT(16, i);
	EXPECT_EQ(SIGBUS, probe_byte(self->addr));
	EXPECT_EQ(1, region_figure(self->name, "mshare-sharers"));
}

/* Operations on the region change no counter of the caller. */
TEST_F(mshare, callers_counters_unchanged)
{
	static const char * const key[] = {
		"VmSize", "VmLck", "VmData", "VmStk", "VmExe", "VmSwap",
	};
	long before[ARRAY_SIZE(key)], i;
	char *a = self->addr;
	struct peer p;

	MAKE_SHARED();
	for (i = 0; i < (long)ARRAY_SIZE(key); i++)
		before[i] = self_status(key[i]);
	ASSERT_EQ(0, map_anon(a, 16 * MEG, RW));
	ASSERT_EQ(0, map_shmem(a + 16 * MEG, 16 * MEG, RW));
	ASSERT_EQ(0, do_madvise(a, 2 * MEG, MADV_POPULATE_WRITE));
	ASSERT_EQ(0, neg(mlock(a, MEG)));
	for (i = 0; i < (long)ARRAY_SIZE(key); i++)
		EXPECT_EQ(before[i], self_status(key[i]))
			TH_LOG("key %ld, mapped", i);
	ASSERT_EQ(0, do_mprotect(a + MEG, MEG, PROT_READ));
	ASSERT_LT(0, do_mremap(a + 4 * MEG, MEG, 2 * MEG, MREMAP_MAYMOVE,
			       NULL));
	ASSERT_EQ(0, do_munmap(a + 16 * MEG, 8 * MEG));
	ASSERT_EQ(0, do_munmap(a, 16 * MEG));
	for (i = 0; i < (long)ARRAY_SIZE(key); i++)
		EXPECT_EQ(before[i], self_status(key[i]))
			TH_LOG("key %ld, unmapped", i);
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

/* The window counts once in the address space of each sharer. */
TEST_F(mshare, window_counts_in_vmsize)
{
	long before = self_status("VmSize"), rss = self_status("VmRSS");
	struct rlimit rl, old;
	struct peer p;

	ASSERT_EQ(0, peer_start(&p));
	MAKE_REGION();
	EXPECT_EQ((long)(self->len / 1024), self_status("VmSize") - before);
	ASSERT_EQ(0, map_anon(self->addr, 8 * MEG, RW));
	ASSERT_EQ(0, do_madvise(self->addr, 8 * MEG, MADV_POPULATE_WRITE));
	/* Its pages are the region's. */
	EXPECT_GT(4096, self_status("VmRSS") - rss);
	ASSERT_EQ(0, do_munmap(self->addr, self->len));
	EXPECT_EQ(before, self_status("VmSize"));

	/* RLIMIT_AS. */
	ASSERT_EQ(0, getrlimit(RLIMIT_AS, &old));
	rl = old;
	rl.rlim_cur = before * 1024 + self->len / 2;
	ASSERT_EQ(0, setrlimit(RLIMIT_AS, &rl));
	EXPECT_EQ(-ENOMEM, sys_mshare(self->name, self->addr, self->len,
				      O_RDWR, 0));
	ASSERT_EQ(0, setrlimit(RLIMIT_AS, &old));
	EXPECT_EQ(0, region_figure(self->name, "mshare-sharers"));
	EXPECT_EQ(before, self_status("VmSize"));
	ASSERT_EQ(0, sys_mshare(self->name, self->addr, self->len, O_RDWR, 0));
	EXPECT_EQ(0, peer_stop(&p));
}

/* What a region maps is no process's data, so RLIMIT_DATA does not limit it. */
TEST_F(mshare, data_limit_spares_regions)
{
	char *outside = self->addr + self->granule + self->len;
	struct rlimit rl, old;

	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, 64 * MEG, RW));
	ASSERT_EQ(0, getrlimit(RLIMIT_DATA, &old));
	rl = old;
	rl.rlim_cur = self_status("VmData") * 1024 + 8 * MEG;
	ASSERT_EQ(0, setrlimit(RLIMIT_DATA, &rl));
	EXPECT_EQ(0, map_anon(self->addr + 64 * MEG, 16 * MEG, RW));
	EXPECT_EQ(0, map_anon(self->addr + 96 * MEG, 16 * MEG, PROT_READ));
	EXPECT_EQ(0, do_mprotect(self->addr + 96 * MEG, 16 * MEG, RW));
	EXPECT_EQ((long)self->addr + 96 * MEG,
		  do_mremap(self->addr + 96 * MEG, 16 * MEG, 24 * MEG, 0, NULL));
	EXPECT_EQ(0, probe_store(self->addr + 96 * MEG, 1));
	/* It still limits the process's own. */
	EXPECT_EQ(-ENOMEM, map_anon(outside, 16 * MEG, RW));
	EXPECT_EQ(0, setrlimit(RLIMIT_DATA, &old));
}

TEST_F(mshare, mremap_dontunmap)
{
	char *a = self->addr, *b = self->addr + 64 * MEG;
	struct peer p;

	MAKE_SHARED();
	ASSERT_EQ(0, map_anon(a, 4 * PAGE, RW));
	ASSERT_EQ(0, probe_store(a + PAGE, 5));
	ASSERT_EQ((long)b, do_mremap(a, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE |
				     MREMAP_FIXED | 4 /* DONTUNMAP */, b));
	EXPECT_EQ(5, peer_see(&p, b + PAGE));
	EXPECT_EQ(0, peer_see(&p, a + PAGE));
	EXPECT_EQ(0, peer_store(&p, a + PAGE, 6));
	EXPECT_EQ(5, load(b + PAGE));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

/* A mapping or a stack next to a window cannot grow into it. */
TEST_F(mshare, neighbours_cannot_grow_into_window)
{
	char *below = self->addr - 4 * PAGE, *end = self->addr + self->len;
	char *stack = end + 512 * PAGE;
	long got;

	MAKE_REGION();
	ASSERT_EQ(0, map_anon(below, 4 * PAGE, RW));
	ASSERT_EQ(0, probe_store(below, 3));
	EXPECT_EQ(-ENOMEM, do_mremap(below, 4 * PAGE, 5 * PAGE, 0, NULL));
	got = do_mremap(below, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE, NULL);
	ASSERT_LT(0, got);
	EXPECT_TRUE((char *)got + 8 * PAGE <= self->addr || (char *)got >= end);
	EXPECT_EQ(3, load((void *)got));

	/* A stack grows down towards the window, and stops before it. */
	ASSERT_EQ(0, map_fd(stack, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS |
			    MAP_GROWSDOWN, -1, 0));
	EXPECT_EQ(0, probe_store(stack - 8 * PAGE, 1));
	EXPECT_EQ(SIGSEGV, probe_store(end, 1));
	EXPECT_EQ(SIGBUS, probe_store(end - PAGE, 1));
	EXPECT_EQ(0, debug_check());
}

/* Move the end of the heap. Return: where it is then. */
static char *set_brk(char *to)
{
	return (char *)syscall(SYS_brk, to);
}

/*
 * A window in a hole of the heap.  What shrinks the heap knows nothing of it, so
 * that is no way to detach: neither of the whole window, nor of a part.
 */
TEST_F(mshare, brk_spares_window)
{
	char *heap = set_brk(NULL), *at, *end, *top;
	struct peer p;

	at = (char *)(((unsigned long)heap + GIB - 1) / GIB * GIB);
	end = at + GIB;
	/* Before the heap is large: fork() must be able to commit it at once. */
	ASSERT_EQ(0, peer_start(&p));
	/* In steps: no step is more than the machine has. */
	for (top = heap; top < end + MEG; ) {
		top += 64 * MEG;
		ASSERT_EQ(top, set_brk(top));
	}
	ASSERT_EQ(0, do_munmap(at, GIB));
	self->addr = at;
	self->len = GIB;
	MAKE_REGION();
	ATTACH_PEER(&p, O_RDWR);
	ASSERT_EQ(0, map_anon(at, MEG, RW));
	ASSERT_EQ(0, probe_store(at, 5));

	EXPECT_EQ(top, set_brk(heap));
	EXPECT_EQ(top, set_brk(at));
	EXPECT_EQ(top, set_brk(at + MEG));
	EXPECT_EQ(top, set_brk(end - PAGE));
	EXPECT_EQ(5, load(at));
	EXPECT_EQ(0, probe_store(top - PAGE, 6));
	EXPECT_EQ(2, region_figure(self->name, "mshare-sharers"));
	/* What is above the window goes. */
	EXPECT_EQ(end, set_brk(end));
	EXPECT_EQ(SIGSEGV, probe_byte(end));
	EXPECT_EQ(end, set_brk(heap));
	EXPECT_EQ(5, load(at));
	EXPECT_EQ(end + MEG, set_brk(end + MEG));
	EXPECT_EQ(0, probe_store(end, 7));
	EXPECT_EQ(5, peer_see(&p, at));
	EXPECT_EQ(0, debug_check());

	ASSERT_EQ(0, do_munmap(at, GIB));
	EXPECT_EQ(heap, set_brk(heap));
	EXPECT_EQ(0, peer_stop(&p));
}

/* Committed memory is given back with the mapping or the region. */
TEST_F(mshare, committed_memory_is_given_back)
{
	const long slack = 2048;
	/* mremap() can move at most half of it. */
	long before, kb = 128 * 1024;
	struct peer p;

	MAKE_SHARED();
	before = meminfo_kb("Committed_AS");
	ASSERT_EQ(0, map_anon(self->addr, kb * 1024, RW));
	EXPECT_LT(kb - slack, meminfo_kb("Committed_AS") - before);
	/* A part, moved parts, and all the rest. */
	ASSERT_EQ(0, peer_munmap(&p, self->addr, kb * 512));
	EXPECT_GT(kb / 2 + slack, meminfo_kb("Committed_AS") - before);
	ASSERT_EQ((long)self->addr,
		  do_mremap(self->addr + kb * 512, kb * 512, kb * 512,
			    MREMAP_MAYMOVE | MREMAP_FIXED, self->addr));
	EXPECT_GT(kb / 2 + slack, meminfo_kb("Committed_AS") - before);
	EXPECT_LT(kb / 2 - slack, meminfo_kb("Committed_AS") - before);
	EXPECT_EQ(0, peer_stop(&p));
	EXPECT_LT(kb / 2 - slack, meminfo_kb("Committed_AS") - before);
	ASSERT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_TRUE(WAIT_FOR(meminfo_kb("Committed_AS") - before < slack,
			     10000))
		TH_LOG("%ld kB too much",
		       meminfo_kb("Committed_AS") - before);
}

/* A mapped file is referenced as by any mapping, and released with it. */
TEST_F(mshare, file_references_are_dropped)
{
	int fd = memfd_create("mshare", MFD_ALLOW_SEALING), i;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, 4 * PAGE));
	for (i = 0; i < 2; i++) {
		MAKE_REGION();
		ASSERT_EQ(0, map_fd(self->addr, 4 * PAGE, RW, MAP_SHARED, fd,
				    0));
		ASSERT_EQ(0, probe_store(self->addr, 1));
		/*
		 * The mapping is writable, so the file cannot be sealed against
		 * writes.
		 */
		EXPECT_EQ(-EBUSY, neg(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE)));
		if (!i)
			ASSERT_EQ(0, do_munmap(self->addr, PAGE));
		EXPECT_EQ(-EBUSY, neg(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE)));
		/* The region is freed by a worker. */
		ASSERT_EQ(0, sys_mshare_unlink(self->name));
		if (!i) {
			ASSERT_TRUE(WAIT_FOR(debug_regions() <=
					     self->regions_before, 10000));
			nap_ms(50);
		}
	}
	EXPECT_TRUE(WAIT_FOR(!fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 10000));
	/* A sealed file stays sealed in a region as well. */
	MAKE_REGION();
	EXPECT_EQ(-EPERM, map_fd(self->addr, 4 * PAGE, RW, MAP_SHARED, fd, 0));
	EXPECT_EQ(SIGBUS, probe_byte(self->addr));
	close(fd);
}

/* The limit on mappings applies to the region's, and the call fails cleanly. */
TEST_F(mshare, max_map_count_of_region)
{
	char *a = self->addr, limit[32];
	long i, ret = 0;

	ASSERT_LT(0, slurp("/proc/sys/vm/max_map_count", limit,
			   sizeof(limit)));
	MAKE_REGION();
	ASSERT_EQ(0, map_anon(a, 1024 * PAGE, RW));
	ASSERT_EQ(0, spew("/proc/sys/vm/max_map_count", "300"));
	for (i = 0; i < 512 && !ret; i++)
		ret = do_mprotect(a + 2 * i * PAGE, PAGE, PROT_READ);
	/* Calls that need no more mappings still work. */
	EXPECT_EQ(0, probe_store(a + 1023 * PAGE, 1));
	EXPECT_EQ(SIGSEGV, probe_store(a, 1));
	EXPECT_EQ(-ENOMEM, do_munmap(a + 1000 * PAGE, PAGE));
	EXPECT_EQ(1, load(a + 1023 * PAGE));
	EXPECT_EQ(0, spew("/proc/sys/vm/max_map_count", limit));
	EXPECT_EQ(-ENOMEM, ret);
	EXPECT_LT(100, i);
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, do_munmap(a, 1024 * PAGE));
	EXPECT_EQ(0, debug_check());
}

/* process_madvise() uses the window of the other process. */
TEST_F(mshare, process_madvise_on_a_sharer)
{
	struct iovec iov = { self->addr, 16 * PAGE };
	struct peer p;
	long i, fd;

	MAKE_SHARED();
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
	for (i = 0; i < 16; i++)
		ASSERT_EQ(0, probe_store(self->addr + i * PAGE, i));
	/* Detach here: now only the peer has a window. */
	ASSERT_EQ(0, do_munmap(self->addr, self->len));
	fd = neg(syscall(434 /* pidfd_open */, p.pid, 0));
	ASSERT_LE(0, fd);
	EXPECT_EQ((long)(16 * PAGE), neg(syscall(440, fd, &iov, 1, MADV_COLD,
						 0)));
	EXPECT_EQ((long)(16 * PAGE), neg(syscall(440, fd, &iov, 1,
						 MADV_PAGEOUT, 0)));
	iov.iov_base = self->addr - PAGE;
	EXPECT_GT(0, neg(syscall(440, fd, &iov, 1, MADV_COLD, 0)));
	for (i = 0; i < 16; i++)
		EXPECT_EQ(i, peer_see(&p, self->addr + i * PAGE));
	close(fd);
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

PEER_FN(pf_mdwe)
{
	PEER_UNUSED();
	/* PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN */
	return neg(prctl(65, 1UL, 0UL, 0UL, 0UL));
}

/* A process that may not gain executable memory may not do so in a window. */
TEST_F(mshare, mdwe_holds_in_window)
{
	struct peer p;

	MAKE_SHARED();
	ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
	if (peer_call(&p, pf_mdwe)) {
		EXPECT_EQ(0, peer_stop(&p));
		SKIP(return, "no PR_SET_MDWE");
	}
	EXPECT_EQ(-EACCES, peer_call(&p, pf_mprotect, (long)self->addr, PAGE,
				     PROT_READ | PROT_EXEC));
	EXPECT_EQ(-EACCES, peer_call(&p, pf_map_anon, (long)self->addr + MEG,
				     PAGE, RW | PROT_EXEC));
	/* This restricts the caller, not the region. */
	EXPECT_EQ(0, do_mprotect(self->addr, PAGE, PROT_READ | PROT_EXEC));
	EXPECT_EQ(0, peer_stop(&p));
}

int main(int argc, char **argv)
{
	return mshare_main(argc, argv);
}
