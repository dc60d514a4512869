// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare: creating, attaching, reading, unlinking, and lifetimes.
 */
#include "mshare_helpers.h"

#define TEXT "Some random text"

/* A region created over an empty range shares what is mapped there later. */
TEST_F(mshare, empty_region_is_shared)
{
	struct peer p;

	ASSERT_EQ(0, peer_start(&p));
	MAKE_REGION();
	ASSERT_EQ(0, map_shmem(self->addr, 2 * MEG, RW));
	memcpy(self->addr, TEXT, sizeof(TEXT));

	ATTACH_PEER(&p, O_RDWR);
	ASSERT_EQ(0, peer_load(&p, self->addr));
	EXPECT_EQ(0, memcmp(&p.val, TEXT, sizeof(p.val)));
	EXPECT_EQ(0, peer_store(&p, self->addr + PAGE, 4711));
	EXPECT_EQ(4711, load(self->addr + PAGE));

	EXPECT_EQ(0, peer_call(&p, pf_unlink, (long)self->name));
	EXPECT_EQ(SIGSEGV, peer_load(&p, self->addr));
	EXPECT_EQ(4711, load(self->addr + PAGE));
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_EQ(SIGSEGV, probe_byte(self->addr));
	EXPECT_EQ(0, peer_stop(&p));
}

/* Donation: what was mapped before the call moves into the region. */
TEST_F(mshare, sample_from_cover_letter)
{
	struct peer p;
	long ret;

	ASSERT_EQ(0, peer_start(&p));
	ASSERT_EQ(0, map_shmem(self->addr, self->len, RW));
	memcpy(self->addr, TEXT, sizeof(TEXT));
	ret = sys_mshare(self->name, self->addr, self->len, O_CREAT | O_RDWR,
			 0600);
	if (ret == -EOPNOTSUPP) {
		/* A refused call changes nothing. */
		EXPECT_EQ(0, strcmp(self->addr, TEXT));
		self->addr[MEG] = 1;
		EXPECT_EQ(-ENOENT, region_open(self->name, O_RDONLY));
		EXPECT_EQ(self->names_before, region_names(false));
		EXPECT_EQ(0, peer_stop(&p));
		SKIP(return, "donation is not supported by this kernel");
	}
	ASSERT_EQ(0, ret);
	EXPECT_EQ(0, strcmp(self->addr, TEXT));

	ATTACH_PEER(&p, O_RDWR);
	ASSERT_EQ(0, peer_load(&p, self->addr));
	EXPECT_EQ(0, memcmp(&p.val, TEXT, sizeof(p.val)));
	EXPECT_EQ(0, peer_call(&p, pf_unlink, (long)self->name));
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_EQ(0, peer_stop(&p));
}

TEST_F(mshare, create_excl_exists)
{
	struct peer p;

	ASSERT_EQ(0, peer_start(&p));
	MAKE_REGION();
	EXPECT_EQ(-EEXIST, peer_call(&p, pf_mshare, (long)self->name,
				     (long)self->addr, (long)self->len,
				     O_CREAT | O_EXCL | O_RDWR, 0600));
	/* O_CREAT alone attaches if the name exists, as with open(). */
	EXPECT_EQ(0, peer_call(&p, pf_mshare, (long)self->name,
			       (long)self->addr, (long)self->len,
			       O_CREAT | O_RDWR, 0600));
	EXPECT_EQ(2, region_figure(self->name, "mshare-sharers"));
	EXPECT_EQ(0, peer_stop(&p));
}

TEST_F(mshare, open_absent_enoent)
{
	EXPECT_EQ(-ENOENT, sys_mshare(self->name, self->addr, self->len,
				      O_RDWR, 0));
	EXPECT_EQ(-ENOENT, sys_mshare(self->name, self->addr, self->len,
				      O_RDONLY, 0));
	EXPECT_EQ(-ENOENT, sys_mshare_unlink(self->name));
	EXPECT_EQ(NULL, self_maps_line(self->addr));
}

TEST_F(mshare, attach_geometry_mismatch)
{
	unsigned long g = self->granule;
	struct peer p;

	ASSERT_EQ(0, peer_start(&p));
	MAKE_REGION();
	EXPECT_EQ(-EINVAL, peer_call(&p, pf_mshare, (long)self->name,
				     (long)self->addr + g, g, O_RDWR));
	EXPECT_EQ(-EINVAL, peer_call(&p, pf_mshare, (long)self->name,
				     (long)self->addr, 2 * g, O_RDWR));
	EXPECT_EQ(-EINVAL, peer_call(&p, pf_mshare, (long)self->name,
				     (long)self->addr - g, 2 * g, O_RDWR));
	EXPECT_EQ(-EINVAL, peer_call(&p, pf_mshare, (long)self->name,
				     (long)self->addr, PAGE, O_RDWR));
	EXPECT_EQ(1, region_figure(self->name, "mshare-sharers"));
	ATTACH_PEER(&p, O_RDWR);
	EXPECT_EQ(2, region_figure(self->name, "mshare-sharers"));
	EXPECT_EQ(0, peer_stop(&p));
}

TEST_F(mshare, attach_range_in_use_eexist)
{
	struct peer p;
	void *page = self->addr + 17 * MEG;

	ASSERT_EQ(0, peer_start(&p));
	MAKE_REGION();
	/* The creator is already a sharer. */
	EXPECT_EQ(-EEXIST, sys_mshare(self->name, self->addr, self->len,
				      O_RDWR, 0));
	/* A single mapped page anywhere in the range makes the call fail. */
	ASSERT_EQ(0, peer_call(&p, pf_map_anon, (long)page, PAGE,
			       RW));
	ASSERT_EQ(0, peer_store(&p, page, 99));
	EXPECT_EQ(-EEXIST, peer_call(&p, pf_mshare, (long)self->name,
				     (long)self->addr, (long)self->len,
				     O_RDWR));
	EXPECT_EQ(99, peer_see(&p, page));
	EXPECT_EQ(1, region_figure(self->name, "mshare-sharers"));
	ASSERT_EQ(0, peer_munmap(&p, page, PAGE));
	ATTACH_PEER(&p, O_RDWR);
	EXPECT_EQ(0, peer_stop(&p));
}

TEST_F(mshare, read_two_longs)
{
	struct region_info info, twice[2];
	int fd;

	self->len = 2 * self->granule;
	MAKE_REGION();
	fd = region_open(self->name, O_RDONLY);
	ASSERT_LE(0, fd);

	memset(&info, 0xff, sizeof(info));
	ASSERT_EQ(16, read(fd, &info, sizeof(info)));
	EXPECT_EQ((unsigned long)self->addr, info.start);
	EXPECT_EQ(self->len, info.size);
	EXPECT_EQ(0, read(fd, &info, sizeof(info)));

	EXPECT_EQ(16, pread(fd, twice, sizeof(twice), 0));
	memset(&info, 0xff, sizeof(info));
	EXPECT_EQ(8, pread(fd, &info, 8, 0));
	EXPECT_EQ((unsigned long)self->addr, info.start);
	EXPECT_EQ(~0ULL, info.size);
	EXPECT_EQ(8, pread(fd, twice, sizeof(twice), 8));
	EXPECT_EQ(self->len, twice[0].start);
	EXPECT_EQ(1, pread(fd, &info, sizeof(info), 15));
	EXPECT_EQ(0, pread(fd, &info, sizeof(info), 16));
	EXPECT_EQ(0, pread(fd, &info, sizeof(info), 4096));
	EXPECT_EQ(-1, pread(fd, (void *)PAGE, sizeof(info), 0));
	EXPECT_EQ(EFAULT, errno);

	EXPECT_EQ(8, lseek(fd, 8, SEEK_SET));
	EXPECT_EQ(8, read(fd, &info, sizeof(info)));
	EXPECT_EQ(self->len, info.start);
	close(fd);
}

TEST_F(mshare, sysctl_mshare_size)
{
	struct stat st;

	/* PUD_SIZE, whatever the number of page-table levels. */
	EXPECT_EQ(GIB, sysctl_granule());
	ASSERT_EQ(0, stat(MSHARE_SYSCTL, &st));
	EXPECT_EQ(0444, (int)st.st_mode & 07777);
	EXPECT_GT(0, spew(MSHARE_SYSCTL, "4096"));
	EXPECT_EQ(GIB, sysctl_granule());
}

/*
 * The name is removed by the last sharer, or by a non-sharer with permission.
 */
TEST_F(mshare, unlink_removes_name)
{
	char path[512];
	struct peer p;

	region_path(path, sizeof(path), self->name);
	ASSERT_EQ(0, peer_start(&p));

	/* By the last sharer. */
	MAKE_REGION();
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_EQ(NULL, self_maps_line(self->addr));
	EXPECT_EQ(-ENOENT, region_open(self->name, O_RDONLY));
	EXPECT_EQ(-ENOENT, sys_mshare_unlink(self->name));

	/* By one sharer of two: it leaves, the name stays. */
	MAKE_REGION();
	ATTACH_PEER(&p, O_RDWR);
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_EQ(NULL, self_maps_line(self->addr));
	EXPECT_EQ(1, region_figure(self->name, "mshare-sharers"));

	/* By a non-sharer: the name is removed, the sharer stays. */
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_EQ(-ENOENT, region_open(self->name, O_RDONLY));
	EXPECT_EQ(SIGBUS, peer_load(&p, self->addr));
	EXPECT_EQ(0, peer_call(&p, pf_unlink, (long)self->name));
	EXPECT_EQ(SIGSEGV, peer_load(&p, self->addr));
	EXPECT_EQ(-ENOENT, peer_call(&p, pf_unlink, (long)self->name));

	/* By unlink(2). */
	MAKE_REGION();
	EXPECT_EQ(0, unlink(path));
	EXPECT_EQ(-ENOENT, region_open(self->name, O_RDONLY));
	EXPECT_EQ(SIGBUS, probe_byte(self->addr));
	EXPECT_EQ(0, do_munmap(self->addr, self->len));
	EXPECT_EQ(0, peer_stop(&p));
}

TEST_F(mshare, persists_with_zero_sharers)
{
	struct peer maker, user;

	ASSERT_EQ(0, peer_start(&maker));
	ASSERT_EQ(0, peer_start(&user));
	ASSERT_EQ(0, peer_call(&maker, pf_mshare, (long)self->name,
			       (long)self->addr, (long)self->len,
			       O_CREAT | O_RDWR, 0600));
	ASSERT_EQ(0, peer_call(&maker, pf_map_anon, (long)self->addr, MEG,
			       RW));
	ASSERT_EQ(0, peer_store(&maker, self->addr + 5 * PAGE, 31337));
	ASSERT_EQ(0, peer_stop(&maker));
	ASSERT_TRUE(WAIT_FOR(region_figure(self->name,
					   "mshare-sharers") == 0, 5000));

	ATTACH_PEER(&user, O_RDWR);
	EXPECT_EQ(31337, peer_see(&user, self->addr + 5 * PAGE));
	EXPECT_EQ(0, peer_stop(&user));
	ASSERT_EQ(0, sys_mshare(self->name, self->addr, self->len, O_RDWR, 0));
	EXPECT_EQ(31337, load(self->addr + 5 * PAGE));
}

static long used_kb(void)
{
	return meminfo_kb("AnonPages") + meminfo_kb("Shmem");
}

TEST_F(mshare, freed_after_unlink_and_exit)
{
	size_t half = scaled(32, 8) * MEG;
	long used, tables, kb = 2 * half / 1024;
	struct peer p;

	ASSERT_EQ(0, peer_start(&p));
	used = used_kb();
	tables = pagetables_kb();
	ASSERT_EQ(0, peer_call(&p, pf_mshare, (long)self->name,
			       (long)self->addr, (long)self->len,
			       O_CREAT | O_RDWR, 0600));
	ASSERT_EQ(0, peer_call(&p, pf_map_anon, (long)self->addr, half,
			       RW));
	ASSERT_EQ(0, peer_call(&p, pf_map_shmem, (long)self->addr + half, half,
			       RW));
	ASSERT_EQ(0, peer_call(&p, pf_madvise, (long)self->addr, 2 * half,
			       MADV_POPULATE_WRITE));
	EXPECT_LT(kb * 9 / 10, used_kb() - used);
	EXPECT_LT(kb * 9 / 10, region_figure(self->name, "mshare-resident-kb"));
	EXPECT_LE(kb / 512, region_figure(self->name, "mshare-pgtables-kb"));

	/* Only the name keeps it. */
	ASSERT_EQ(0, peer_stop(&p));
	nap_ms(100);
	EXPECT_LT(kb * 9 / 10, used_kb() - used);
	EXPECT_LT(kb * 9 / 10, region_figure(self->name, "mshare-resident-kb"));

	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_TRUE(WAIT_FOR(used_kb() - used < kb / 8, 20000))
		TH_LOG("%ld kB of %ld kB still in use", used_kb() - used, kb);
	EXPECT_TRUE(WAIT_FOR(pagetables_kb() - tables < 64, 10000))
		TH_LOG("PageTables grew by %ld kB",
		       pagetables_kb() - tables);
}

TEST_F(mshare, unlink_while_attached_keeps_memory)
{
	char *other = self->addr + 2 * self->granule;
	struct peer p, late;

	ASSERT_EQ(0, peer_start(&p));
	ASSERT_EQ(0, peer_start(&late));
	MAKE_REGION();
	ATTACH_PEER(&p, O_RDWR);
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
	ASSERT_EQ(0, probe_store(self->addr, 1));
	EXPECT_EQ(0, peer_call(&late, pf_unlink, (long)self->name));

	/* No process can attach any more ... */
	EXPECT_EQ(-ENOENT, peer_call(&late, pf_mshare, (long)self->name,
				     (long)self->addr, (long)self->len,
				     O_RDWR));
	/* ... but the sharers continue, */
	EXPECT_EQ(0, peer_store(&p, self->addr + PAGE, 2));
	EXPECT_EQ(2, load(self->addr + PAGE));
	EXPECT_EQ(0, peer_call(&p, pf_map_anon, (long)self->addr + 8 * MEG,
			       PAGE, RW));
	EXPECT_EQ(0, probe_store(self->addr + 8 * MEG, 3));
	EXPECT_EQ(3, peer_see(&p, self->addr + 8 * MEG));

	/* and another region can have the name. */
	ASSERT_EQ(0, peer_call(&late, pf_mshare, (long)self->name, (long)other,
			       (long)self->len, O_CREAT | O_EXCL | O_RDWR,
			       0600));
	ASSERT_EQ(0, peer_call(&late, pf_map_anon, (long)other, PAGE,
			       RW));
	EXPECT_EQ(0, peer_see(&late, other));
	EXPECT_EQ(1, load(self->addr));
	EXPECT_EQ(SIGSEGV, probe_byte(other));
	EXPECT_EQ(0, debug_check());

	/*
	 * The name belongs to the new region now. A sharer of the old region
	 * leaves it with munmap().
	 */
	EXPECT_EQ(0, do_munmap(self->addr, self->len));
	EXPECT_EQ(SIGSEGV, probe_byte(self->addr));
	EXPECT_EQ(2, peer_see(&p, self->addr + PAGE));
	EXPECT_EQ(0, peer_stop(&p));
	EXPECT_EQ(0, peer_stop(&late));
}

/*
 * Another region has the name now, so the call applies to the caller's own
 * region.
 */
TEST_F(mshare, unlink_leaves_region_of_old_name)
{
	char *other = self->addr + 2 * self->granule;
	struct peer p;

	ASSERT_EQ(0, peer_start(&p));
	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
	ASSERT_EQ(0, peer_call(&p, pf_unlink, (long)self->name));
	ASSERT_EQ(0, peer_call(&p, pf_mshare, (long)self->name, (long)other,
			       (long)self->len, O_CREAT | O_EXCL | O_RDWR,
			       0600));
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_EQ(SIGSEGV, probe_byte(self->addr));
	/* The new region still has its name, until a non-sharer removes it. */
	EXPECT_EQ(0, access(self->path, F_OK));
	EXPECT_EQ(0, peer_munmap(&p, other, self->len));
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_EQ(-1, access(self->path, F_OK));
	EXPECT_EQ(0, peer_stop(&p));
}

/* True if each of the two sees at once what the other stores. */
static bool shared_at(char *where, struct peer *p, long value)
{
	return !probe_store(where, value) && peer_see(p, where) == value &&
	       !peer_store(p, where + 8, ~value) && load(where + 8) == ~value;
}

TEST_F(mshare, region_of_two_granules)
{
	unsigned long g = self->granule;
	char *border = self->addr + g;
	struct peer p;

	ASSERT_EQ(0, peer_start(&p));
	self->len = 2 * g;
	MAKE_REGION();
	ATTACH_PEER(&p, O_RDWR);

	/* One mapping over the border between the granules, one at each end. */
	ASSERT_EQ(0, map_anon(border - 4 * MEG, 8 * MEG,
			      RW));
	ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
	ASSERT_EQ(0, map_anon(self->addr + self->len - PAGE, PAGE,
			      RW));
	EXPECT_TRUE(shared_at(self->addr, &p, 10));
	EXPECT_TRUE(shared_at(border - PAGE, &p, 20));
	EXPECT_TRUE(shared_at(border, &p, 30));
	EXPECT_TRUE(shared_at(border - 4 * MEG, &p, 40));
	EXPECT_TRUE(shared_at(border + 4 * MEG - PAGE, &p, 50));
	EXPECT_TRUE(shared_at(self->addr + self->len - PAGE, &p, 60));
	EXPECT_EQ(0, debug_check());

	/* An empty slot can be used again (its tables are pinned). */
	ASSERT_EQ(0, do_munmap(border, g));
	EXPECT_EQ(SIGBUS, peer_load(&p, border));
	EXPECT_EQ(SIGBUS, peer_load(&p, self->addr + self->len - PAGE));
	EXPECT_EQ(20, peer_see(&p, border - PAGE));
	EXPECT_EQ(0, debug_check());
	ASSERT_EQ(0, peer_call(&p, pf_map_anon, (long)border, MEG,
			       RW));
	EXPECT_TRUE(shared_at(border, &p, 70));
	EXPECT_EQ(20, load(border - PAGE));

	/* Unmap over both slots at once. */
	ASSERT_EQ(0, do_munmap(self->addr + PAGE, self->len - 2 * PAGE));
	EXPECT_EQ(SIGBUS, peer_load(&p, border));
	EXPECT_EQ(SIGBUS, peer_load(&p, border - PAGE));
	EXPECT_EQ(10, peer_see(&p, self->addr));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

static bool have_high_addresses(void)
{
	void *hint = (void *)(1UL << 50);
	void *p = mmap(hint, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0);

	if (p == MAP_FAILED)
		return false;
	munmap(p, PAGE);
	return p == hint;
}

TEST_F(mshare, la57_high_region)
{
	unsigned long g = self->granule;
	struct peer p;
	char *border;

	if (!have_high_addresses()) {
		EXPECT_EQ(-EINVAL, sys_mshare(self->name, (void *)(1UL << 50),
					      g, O_CREAT | O_RDWR, 0600));
		SKIP(return, "no 5-level page tables");
	}

	ASSERT_EQ(0, peer_start(&p));
	self->addr = (char *)(1UL << 50);
	MAKE_REGION();
	ATTACH_PEER(&p, O_RDWR);
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
	EXPECT_TRUE(shared_at(self->addr, &p, 5));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_EQ(0, peer_call(&p, pf_unlink, (long)self->name));
	EXPECT_EQ(SIGSEGV, probe_byte(self->addr));

	/* Over the border between two entries of the top table (256 TiB). */
	border = (char *)(3UL << 48);
	self->addr = border - g;
	self->len = 2 * g;
	MAKE_REGION();
	ATTACH_PEER(&p, O_RDWR);
	ASSERT_EQ(0, map_anon(border - MEG, 2 * MEG, RW));
	EXPECT_TRUE(shared_at(border - PAGE, &p, 7));
	EXPECT_TRUE(shared_at(border, &p, 9));
	EXPECT_EQ(0, debug_check());
	ASSERT_EQ(0, do_munmap(border - MEG, 2 * MEG));
	EXPECT_EQ(SIGBUS, peer_load(&p, border));
	EXPECT_EQ(SIGBUS, probe_byte(border - PAGE));
	EXPECT_EQ(0, peer_stop(&p));
}

/* The lowest slot that is allowed, next to the borders of user memory. */
TEST_F(mshare, region_next_to_private_memory)
{
	char *below = self->addr - PAGE, *above = self->addr + self->len;

	ASSERT_EQ(0, map_anon(below, PAGE, RW));
	ASSERT_EQ(0, map_anon(above, PAGE, RW));
	*below = 'b';
	*above = 'a';
	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, PAGE, RW));
	ASSERT_EQ(0, map_anon(above - PAGE, PAGE, RW));
	self->addr[0] = 'x';
	above[-1] = 'y';
	/* Freeing the neighbours must not affect the region's tables. */
	ASSERT_EQ(0, do_munmap(below, PAGE));
	ASSERT_EQ(0, do_munmap(above, PAGE));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ('x', self->addr[0]);
	EXPECT_EQ('y', above[-1]);
	EXPECT_EQ(SIGSEGV, probe_byte(below));
	EXPECT_EQ(SIGSEGV, probe_byte(above));

	/* Leaving the region must not affect the neighbours. */
	ASSERT_EQ(0, map_anon(below, PAGE, RW));
	ASSERT_EQ(0, map_anon(above, PAGE, RW));
	*below = 'c';
	*above = 'd';
	EXPECT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_EQ('c', *below);
	EXPECT_EQ('d', *above);
}

TEST_F(mshare, several_regions_in_one_process)
{
	unsigned long g = self->granule;
	char name[4][64];
	struct peer p;
	int i;

	ASSERT_EQ(0, peer_start(&p));
	for (i = 0; i < 4; i++) {
		snprintf(name[i], sizeof(name[i]), MSHARE_PREFIX "several.%d",
			 i);
		ASSERT_EQ(0, sys_mshare(name[i], self->addr + i * g, g,
					O_CREAT | O_EXCL | O_RDWR, 0600));
		ASSERT_EQ(0, map_anon(self->addr + i * g, PAGE,
				      RW));
		ASSERT_EQ(0, probe_store(self->addr + i * g, 100 + i));
	}
	EXPECT_EQ(0, debug_check());
	/* Detach one in the middle: the others stay. */
	EXPECT_EQ(0, sys_mshare_unlink(name[1]));
	EXPECT_EQ(100, load(self->addr));
	EXPECT_EQ(SIGSEGV, probe_byte(self->addr + g));
	EXPECT_EQ(102, load(self->addr + 2 * g));
	EXPECT_EQ(103, load(self->addr + 3 * g));
	/* One munmap() over two whole windows detaches both. */
	EXPECT_EQ(0, do_munmap(self->addr + 2 * g, 2 * g));
	EXPECT_EQ(SIGSEGV, probe_byte(self->addr + 2 * g));
	EXPECT_EQ(SIGSEGV, probe_byte(self->addr + 3 * g));
	EXPECT_EQ(100, load(self->addr));
	EXPECT_EQ(0, region_figure(name[2], "mshare-sharers"));
	EXPECT_EQ(0, peer_stop(&p));
}

/* The number of windows per process is limited. */
TEST_F(mshare, window_cap_64)
{
	char name[64], *at;
	int i, status;
	pid_t pid;

	for (i = 0; i <= 64; i++) {
		snprintf(name, sizeof(name), MSHARE_PREFIX "cap.%d", i);
		at = slot_addr(self->granule, 16 + i);
		EXPECT_EQ(i < 64 ? 0 : -ENOMEM,
			  sys_mshare(name, at, self->granule,
				     O_CREAT | O_EXCL | O_RDWR, 0600))
			TH_LOG("window %d", i);
	}
	EXPECT_EQ(-ENOENT, region_open(name, O_RDONLY));
	EXPECT_EQ(NULL, self_maps_line(at));
	/* A fork() of a process at the limit works. */
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		at = slot_addr(self->granule, 16 + 63);
		_exit(map_anon(at, PAGE, RW) || probe_store(at, 64));
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(64, load(slot_addr(self->granule, 16 + 63)));
	/* With one window less there is room again. */
	ASSERT_EQ(0, do_munmap(slot_addr(self->granule, 16), self->granule));
	EXPECT_EQ(0, sys_mshare(name, slot_addr(self->granule, 16 + 64),
				self->granule, O_CREAT | O_EXCL | O_RDWR,
				0600));
	EXPECT_EQ(0, debug_check());
}

TEST_F(mshare, mode_owner_and_umask)
{
	char path[512];
	struct stat st;

	region_path(path, sizeof(path), self->name);
	umask(027);
	ASSERT_EQ(0, sys_mshare(self->name, self->addr, self->len,
				O_CREAT | O_RDWR, 0666));
	ASSERT_EQ(0, stat(path, &st));
	EXPECT_TRUE(S_ISREG(st.st_mode));
	EXPECT_EQ(0640, (int)st.st_mode & 07777);
	EXPECT_EQ(0U, st.st_uid);
	EXPECT_EQ(0U, st.st_gid);
	EXPECT_LE(time(NULL) - 60, st.st_mtime);
	EXPECT_EQ(0, chmod(path, 0604));
	EXPECT_EQ(0, chown(path, 12, 34));
	ASSERT_EQ(0, stat(path, &st));
	EXPECT_EQ(0604, (int)st.st_mode & 07777);
	EXPECT_EQ(12U, st.st_uid);
	EXPECT_EQ(34U, st.st_gid);
	EXPECT_EQ(0, sys_mshare_unlink(self->name));

	/* Bits above 0777 are not part of a region's mode. */
	umask(0);
	ASSERT_EQ(0, sys_mshare(self->name, self->addr, self->len,
				O_CREAT | O_RDWR, 07777));
	ASSERT_EQ(0, stat(path, &st));
	EXPECT_EQ(0777, (int)st.st_mode & 07777);
}

TEST_F(mshare, fdinfo_figures)
{
	struct peer p;
	long before;

	ASSERT_EQ(0, peer_start(&p));
	MAKE_REGION();
	EXPECT_EQ((long)self->addr, region_figure(self->name, "mshare-start"));
	EXPECT_EQ((long)self->len, region_figure(self->name, "mshare-size"));
	EXPECT_EQ(1, region_figure(self->name, "mshare-sharers"));
	EXPECT_TRUE(resident_is(self->name, 0));
	before = region_figure(self->name, "mshare-pgtables-kb");
	EXPECT_LE(0, before);

	ATTACH_PEER(&p, O_RDONLY);
	EXPECT_EQ(2, region_figure(self->name, "mshare-sharers"));
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
	ASSERT_EQ(0, do_madvise(self->addr, MEG, MADV_POPULATE_WRITE));
	EXPECT_TRUE(resident_is(self->name, 1024));
	/*
	 * A PTE table was added; where the region fills a unit, a PMD table
	 * too.
	 */
	EXPECT_EQ(before + (self->len == UNIT ? 8 : 4),
		  region_figure(self->name, "mshare-pgtables-kb"));

	ASSERT_EQ(0, do_munmap(self->addr, MEG));
	EXPECT_TRUE(resident_is(self->name, 0));
	EXPECT_EQ(before, region_figure(self->name, "mshare-pgtables-kb"));
	EXPECT_EQ(0, peer_call(&p, pf_unlink, (long)self->name));
	EXPECT_EQ(1, region_figure(self->name, "mshare-sharers"));
	EXPECT_EQ(0, peer_stop(&p));
}

int main(int argc, char **argv)
{
	return mshare_main(argc, argv);
}
