// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare: what /proc shows of a window, and page walkers that must not enter
 * it.
 */
#include "mshare_helpers.h"

#include <linux/mempolicy.h>
#include <sys/ioctl.h>
#include <sys/klog.h>

/*
 * Read a whole /proc file and drop the content. Return: its length or a
 * negative errno.
 */
static long drain(const char *path)
{
	static char buf[65536];
	long n = 0;
	ssize_t r;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	while ((r = read(fd, buf, sizeof(buf))) > 0)
		n += r;
	close(fd);
	return r < 0 ? -errno : n;
}

/* The number of maps lines that overlap the window. */
static int window_lines(const char *addr, size_t len)
{
	static char buf[262144];
	unsigned long start, end;
	char *line, *next;
	int n = 0;

	if (slurp("/proc/self/maps", buf, sizeof(buf)) < 0)
		return -1;
	for (line = buf; *line; line = next) {
		next = strchr(line, '\n');
		if (!next)
			break;
		*next++ = 0;
		if (sscanf(line, "%lx-%lx", &start, &end) == 2 &&
		    start < (unsigned long)addr + len &&
		    end > (unsigned long)addr)
			n++;
	}
	return n;
}

TEST_F(mshare, maps_one_line_with_path)
{
	unsigned long start = 0, end = 0;
	char perms[8] = "", *line;
	int fields;

	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
	ASSERT_EQ(0, map_shmem(self->addr + 4 * MEG, MEG, PROT_READ));
	EXPECT_EQ(1, window_lines(self->addr, self->len));
	line = self_maps_line(self->addr + 4 * MEG);
	ASSERT_NE(NULL, line);
	fields = sscanf(line, "%lx-%lx %4s", &start, &end, perms);
	ASSERT_EQ(3, fields);
	EXPECT_EQ((unsigned long)self->addr, start);
	EXPECT_EQ((unsigned long)self->addr + self->len, end);
	EXPECT_EQ(0, strcmp("rw-s", perms));
	ASSERT_NE(NULL, strchr(line, '/'));
	EXPECT_EQ(0, strcmp(self->path, strchr(line, '/')));

	ASSERT_EQ(0, do_munmap(self->addr, self->len));
	EXPECT_EQ(0, window_lines(self->addr, self->len));
	ASSERT_EQ(0, sys_mshare(self->name, self->addr, self->len, O_RDONLY,
				0));
	line = self_maps_line(self->addr);
	ASSERT_NE(NULL, line);
	EXPECT_NE(NULL, strstr(line, " r--s "));
	/* A removed name is shown as for any file. */
	EXPECT_EQ(0, unlink(self->path));
	line = self_maps_line(self->addr);
	ASSERT_NE(NULL, line);
	EXPECT_NE(NULL, strstr(line, self->path));
	EXPECT_NE(NULL, strstr(line, "(deleted)"));
}

/* The smaps paragraph of the window: its text, or NULL. */
static char *smaps_of(const char *addr)
{
	static char buf[524288];
	char head[32], *at, *end;

	if (slurp("/proc/self/smaps", buf, sizeof(buf)) < 0)
		return NULL;
	snprintf(head, sizeof(head), "%lx-", (unsigned long)addr);
	at = strstr(buf, head);
	if (!at)
		return NULL;
	end = strstr(at, "VmFlags:");
	if (!end || !strchr(end, '\n'))
		return NULL;
	*strchr(end, '\n') = 0;
	return at;
}

/* As in linux/fs.h since 6.11. */
struct procmap_query {
	__u64 size;
	__u64 query_flags;
	__u64 query_addr;
	__u64 vma_start;
	__u64 vma_end;
	__u64 vma_flags;
	__u64 vma_page_size;
	__u64 vma_offset;
	__u64 inode;
	__u32 dev_major;
	__u32 dev_minor;
	__u32 vma_name_size;
	__u32 build_id_size;
	__u64 vma_name_addr;
	__u64 build_id_addr;
};

#define PROCMAP_QUERY_CALL _IOWR('f', 17, struct procmap_query)

/* How often the kernel's log says that a file could not be read. */
static int unreadable_in_log(void)
{
	static char log[1024 * 1024];
	int n = klogctl(3 /* SYSLOG_ACTION_READ_ALL */, log, sizeof(log) - 1);
	int found = 0;
	char *p;

	log[n < 0 ? 0 : n] = 0;
	for (p = log; (p = strstr(p, "not supported for file")); p++)
		found++;
	return found;
}

/* The kernel looks for an ELF header in each mapped file. */
TEST_F(mshare, procmap_query_reads_the_file)
{
	int fd = open("/proc/self/maps", O_RDONLY), before = unreadable_in_log();
	char id[64], name[256] = "";
	struct procmap_query query = {
		.size = sizeof(query),
		.query_addr = (unsigned long)self->addr,
		.build_id_addr = (unsigned long)id,
		.build_id_size = sizeof(id),
		.vma_name_addr = (unsigned long)name,
		.vma_name_size = sizeof(name),
	};

	MAKE_REGION();
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, neg(ioctl(fd, PROCMAP_QUERY_CALL, &query)));
	EXPECT_EQ((unsigned long)self->addr, query.vma_start);
	EXPECT_EQ((unsigned long)self->addr + self->len, query.vma_end);
	EXPECT_STREQ(self->path, name);
	/* There is none, and no error is logged. */
	EXPECT_EQ(0, query.build_id_size);
	EXPECT_EQ(before, unreadable_in_log());
	close(fd);
}

TEST_F(mshare, smaps_vmflags_pt)
{
	char *text;

	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
	ASSERT_EQ(0, do_madvise(self->addr, MEG, MADV_POPULATE_WRITE));
	text = smaps_of(self->addr);
	ASSERT_NE(NULL, text);
	text = strstr(text, "VmFlags:");
	ASSERT_NE(NULL, text);
	/* "ms" has always meant VM_MAYSHARE. */
	EXPECT_NE(NULL, strstr(text, " pt"));
	/* The line goes with the window. */
	ASSERT_EQ(0, sys_mshare_unlink(self->name));
	EXPECT_EQ(NULL, smaps_of(self->addr));
}

/* pagemap shows no frames for the window, and does not look for them. */
TEST_F(mshare, pagemap_shows_nothing)
{
	__u64 entry[4];
	int fd, i;

	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
	ASSERT_EQ(0, do_madvise(self->addr, MEG, MADV_POPULATE_WRITE));
	fd = open("/proc/self/pagemap", O_RDONLY);
	ASSERT_LE(0, fd);
	memset(entry, 0xff, sizeof(entry));
	ASSERT_EQ((ssize_t)sizeof(entry),
		  pread(fd, entry, sizeof(entry),
			(unsigned long)self->addr / PAGE * 8));
	for (i = 0; i < 4; i++)
		EXPECT_EQ(0ULL, entry[i] >> 63);
	close(fd);
}

/*
 * Everything that walks page tables of a process's own mm, while a peer makes
 * and frees the tables all the time.
 */
TEST_F(mshare, maps_smaps_pagemap_clear_refs_race)
{
	static const char * const file[] = {
		"/proc/self/maps", "/proc/self/smaps", "/proc/self/smaps_rollup",
		"/proc/self/numa_maps", "/proc/self/status", "/proc/self/statm",
		/* If the kernel can dump page tables, it walks ours. */
		"/sys/kernel/debug/page_tables/current_user",
	};
	long rounds, ret;
	__u64 entry[512];
	int status, fd;
	unsigned int i;
	pid_t mapper;

	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr + 64 * MEG, PAGE, RW));
	ASSERT_EQ(0, probe_store(self->addr + 64 * MEG, 17));
	fd = open("/proc/self/pagemap", O_RDONLY);
	ASSERT_LE(0, fd);
	mapper = fork();
	ASSERT_LE(0, mapper);
	if (!mapper) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;) {
			map_anon(self->addr, 16 * MEG, RW);
			do_madvise(self->addr, 64 * PAGE, MADV_POPULATE_WRITE);
			probe_store(self->addr + 8 * MEG, 1);
			do_munmap(self->addr, 16 * MEG);
		}
	}
	for (rounds = scaled(40, 12); rounds; rounds--) {
		for (i = 0; i < ARRAY_SIZE(file); i++) {
			ret = drain(file[i]);
			ASSERT_TRUE(ret > 0 || ret == -ENOENT);
		}
		ret = pread(fd, entry, sizeof(entry),
			    (unsigned long)self->addr / PAGE * 8);
		ASSERT_EQ((ssize_t)sizeof(entry), ret);
		for (i = 0; i < 512; i++)
			ASSERT_EQ(0ULL, entry[i] >> 63);
		/* Referenced bits, then the soft-dirty ones. */
		ASSERT_EQ(0, spew("/proc/self/clear_refs", "1"));
		ret = spew("/proc/self/clear_refs", "4");
		ASSERT_TRUE(ret == 0 || ret == -EINVAL);
	}
	kill(mapper, SIGKILL);
	EXPECT_EQ(mapper, waitpid(mapper, &status, 0));
	/* The walkers did not write-protect the region's pages. */
	EXPECT_EQ(17, load(self->addr + 64 * MEG));
	EXPECT_EQ(0, probe_store(self->addr + 64 * MEG, 18));
	EXPECT_EQ(0, debug_check());
	close(fd);
}

/* Neither accessed bits nor write-protection change for pages of a region. */
TEST_F(mshare, clear_refs_changes_nothing)
{
	struct rusage before, after;
	struct peer p;
	long i, ret;

	MAKE_SHARED();
	ASSERT_EQ(0, map_anon(self->addr, 64 * PAGE, RW));
	ASSERT_EQ(0, do_madvise(self->addr, 64 * PAGE, MADV_POPULATE_WRITE));
	/* Soft-dirty tracking write-protects: a store would take a fault. */
	ret = spew("/proc/self/clear_refs", "4");
	ASSERT_TRUE(ret == 0 || ret == -EINVAL);
	ASSERT_EQ(0, spew("/proc/self/clear_refs", "1"));
	getrusage(RUSAGE_SELF, &before);
	getrusage(RUSAGE_SELF, &before);
	for (i = 0; i < 64; i++)
		WRITE_ONCE(*(long *)(self->addr + i * PAGE), i);
	getrusage(RUSAGE_SELF, &after);
	EXPECT_GT(8, after.ru_minflt - before.ru_minflt);
	for (i = 0; i < 64; i++)
		EXPECT_EQ(i, peer_see(&p, self->addr + i * PAGE));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

#ifndef PAGEMAP_SCAN
struct pm_scan_arg {
	__u64 size;
	__u64 flags;
	__u64 start;
	__u64 end;
	__u64 walk_end;
	__u64 vec;
	__u64 vec_len;
	__u64 max_pages;
	__u64 category_inverted;
	__u64 category_mask;
	__u64 category_anyof_mask;
	__u64 return_mask;
};

#define PAGEMAP_SCAN _IOWR('f', 16, struct pm_scan_arg)
#define PAGE_IS_PRESENT 8
#endif

TEST_F(mshare, pagemap_scan_finds_nothing)
{
	__u64 vec[3 * 8];
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.start = (unsigned long)self->addr,
		.end = (unsigned long)self->addr + self->len,
		.vec = (unsigned long)vec,
		.vec_len = 8,
		.category_mask = PAGE_IS_PRESENT,
		.return_mask = PAGE_IS_PRESENT,
	};
	long ret;
	int fd;

	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
	ASSERT_EQ(0, do_madvise(self->addr, MEG, MADV_POPULATE_WRITE));
	fd = open("/proc/self/pagemap", O_RDONLY);
	ASSERT_LE(0, fd);
	ret = neg(ioctl(fd, PAGEMAP_SCAN, &arg));
	close(fd);
	if (ret == -ENOTTY)
		SKIP(return, "no PAGEMAP_SCAN");
	EXPECT_EQ(0, ret);
}

static off_t core_size(void)
{
	struct stat st;

	return stat("/tmp/mshare-core", &st) ? -1 : st.st_size;
}

/* A core dump leaves the window out, and does not grow by its size. */
TEST_F(mshare, core_dump_without_window)
{
	struct rlimit rl = { RLIM_INFINITY, RLIM_INFINITY };
	char pattern[256];
	int status;
	pid_t pid;

	if (slurp("/proc/sys/kernel/core_pattern", pattern,
		  sizeof(pattern)) <= 0)
		SKIP(return, "no core dumps");
	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, 8 * MEG, RW));
	ASSERT_EQ(0, do_madvise(self->addr, 8 * MEG, MADV_POPULATE_WRITE));
	ASSERT_EQ(0, spew("/proc/sys/kernel/core_pattern",
			  "/tmp/mshare-core"));
	unlink("/tmp/mshare-core");
	pid = fork();
	if (!pid) {
		setrlimit(RLIMIT_CORE, &rl);
		prctl(PR_SET_DUMPABLE, 1);
		signal(SIGQUIT, SIG_DFL);
		kill(getpid(), SIGQUIT);
		_exit(1);
	}
	ASSERT_LT(0, pid);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, spew("/proc/sys/kernel/core_pattern", pattern));
	EXPECT_TRUE(WIFSIGNALED(status));
	EXPECT_TRUE(WCOREDUMP(status));
	EXPECT_LT(0, core_size());
	EXPECT_GT((off_t)(8 * MEG), core_size());
	unlink("/tmp/mshare-core");
	EXPECT_EQ(1, region_figure(self->name, "mshare-sharers"));
}

static long move_pages_status(pid_t pid, void *addr, int *status)
{
	void *pages[1] = { addr };

	return neg(syscall(__NR_move_pages, pid, 1UL, pages, NULL, status, 0));
}

TEST_F(mshare, numa_maps_move_pages)
{
	unsigned long nodes = 1;
	int status = 12345, node = 0;
	void *pages[1] = { self->addr };
	struct peer p;
	long ret, i;

	if (access("/proc/self/numa_maps", R_OK))
		SKIP(return, "no NUMA");
	MAKE_SHARED();
	ASSERT_EQ(0, map_anon(self->addr, MEG, RW));
	ASSERT_EQ(0, do_madvise(self->addr, MEG, MADV_POPULATE_WRITE));
	ASSERT_EQ(0, probe_store(self->addr, 21));
	/*
	 * It is on the only node that every machine has: mshare_numa tests
	 * more.
	 */
	ASSERT_EQ(0, move_pages_status(0, self->addr, &status));
	EXPECT_LE(0, status);
	EXPECT_EQ(0, move_pages_status(p.pid, self->addr, &status));
	EXPECT_LE(0, status);
	node = status;
	ret = neg(syscall(__NR_move_pages, 0, 1UL, pages, &node, &status,
			  MPOL_MF_MOVE));
	EXPECT_EQ(0, ret);
	EXPECT_EQ(node, status);
	for (i = 0; i < 20; i++) {
		EXPECT_LE(0, neg(syscall(__NR_migrate_pages, p.pid, 64UL,
					 &nodes, &nodes)));
		ret = drain("/proc/self/numa_maps");
		EXPECT_TRUE(ret > 0 || ret == -ENOENT);
	}
	EXPECT_EQ(21, peer_see(&p, self->addr));
	EXPECT_EQ(0, debug_check());
	EXPECT_EQ(0, peer_stop(&p));
}

PEER_FN(pf_read_all)
{
	long off;

	PEER_UNUSED();
	for (off = 0; off < b; off += PAGE)
		if (probe_byte((void *)(a + off)))
			return -EFAULT;
	return self_status("VmPTE");
}

TEST_F(mshare, pagetables_saved)
{
	const int n = 20;
	size_t size = scaled(64, 32) * MEG;
	long tables, before, grown, worst = 0, kb;
	struct peer p[20];
	int i;

	for (i = 0; i < n; i++)
		ASSERT_EQ(0, peer_start(&p[i]));
	MAKE_REGION();
	ASSERT_EQ(0, map_anon(self->addr, size, RW));
	ASSERT_EQ(0, do_madvise(self->addr, size, MADV_POPULATE_WRITE));
	tables = region_figure(self->name, "mshare-pgtables-kb");
	/* 8 bytes for each page, once. */
	EXPECT_LE((long)(size / 512 / 1024), tables);
	EXPECT_GE((long)(size / 512 / 1024) + 16, tables);
	before = pagetables_kb();
	for (i = 0; i < n; i++)
		ATTACH_PEER(&p[i], O_RDONLY);
	for (i = 0; i < n; i++) {
		kb = peer_call(&p[i], pf_read_all, (long)self->addr, size);
		ASSERT_LT(0, kb);
		if (kb > worst)
			worst = kb;
	}
	grown = pagetables_kb() - before;
	TH_LOG("%d sharers of %ld kB of tables: VmPTE up to %ld kB, PageTables +%ld kB",
	       n, tables, worst, grown);
	EXPECT_EQ(tables, region_figure(self->name, "mshare-pgtables-kb"));
	/* A process of the tests has about 50 kB of tables of its own. */
	EXPECT_GT(100, worst);
	EXPECT_GE(n * 8, grown);
	for (i = 0; i < n; i++)
		EXPECT_EQ(0, peer_stop(&p[i]));
}

int main(int argc, char **argv)
{
	return mshare_main(argc, argv);
}
