// SPDX-License-Identifier: GPL-2.0-only
/*
 * Limits for the memory of regions, and the OOM killer's view of it.
 */
#include <linux/mm.h>
#include <linux/mshare.h>
#include <linux/percpu_counter.h>
#include <linux/rculist.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>

#include "mshare.h"

/*
 * The OOM killer
 *
 * The memory of a region is in the counters of no process. Divide it among the
 * sharers. So they are killed before processes that do not share the region,
 * and the region counts once, however many sharers it has.
 */

static unsigned long mshare_part_of(struct mshare_region *region)
{
	struct mm_struct *host = mshare_region_mm(region);
	unsigned long pages;

	pages = get_mm_rss(host) + get_mm_counter(host, MM_SWAPENTS) +
		mm_pgtables_bytes(host) / PAGE_SIZE;

	return pages / max(mshare_nr_sharers(host), 1);
}

/**
 * mshare_oom_points - the part of @mm in the memory of regions
 * @mm: of a task that is locked by task_lock()
 *
 * Takes no lock, and may be called under spinlocks. Pins the regions, as a host
 * is freed without a grace period.
 *
 * Return: pages, in addition to those of @mm itself.
 */
unsigned long __mshare_oom_points(struct mm_struct *mm)
{
	struct mshare_attach *att;
	unsigned long points = 0;

	rcu_read_lock();
	hlist_for_each_entry_rcu(att, &mm->mshare_attached, mm_node) {
		if (!percpu_ref_tryget_live(&att->region->pin))
			continue;
		points += mshare_part_of(att->region);
		mshare_put(att->region);
	}
	rcu_read_unlock();

	return points;
}

/*
 * The size of msharefs
 *
 * It limits what has no other limit: the anonymous pages of all regions, their
 * swap entries, the blocks of shared-memory objects that have no limit of
 * their own, like shared anonymous memory and memfds, and the tables of
 * regions. Files on a disk or in a tmpfs with a size are not counted.
 *
 * A region keeps its tables as long as it has a name or a window, and the OOM
 * killer cannot free them. Those that entries of sharers point at exist even if
 * the region is empty. They count from the time when the region gets its inode
 * until its teardown has freed them. The others are for what is mapped, but
 * reading is enough to have them, be it the zero page or a page of a file.
 *
 * The host counts anonymous pages as in any mm. When a pin is dropped, that is
 * after every fault and every call that changes the region, the change since
 * the last time is added to the file system's count, if it is
 * MSHARE_COUNT_SLACK pages or more. Near the limit, the host's counters are
 * read exactly.
 *
 * A shared-memory object is adopted when it is first mapped into a region. It
 * counts until it is evicted, as it keeps its pages until then, mapped or not.
 */

/* This near to the limit, read the host's counters exactly. */
#define MSHARE_COUNT_NEAR	(MSHARE_COUNT_SLACK + \
				 2 * percpu_counter_batch * num_online_cpus())

/* Default for nr_regions=: one per that many pages of memory, and a maximum. */
#define MSHARE_PAGES_PER_REGION	64
#define MSHARE_MANY_REGIONS	65536

unsigned long mshare_default_pages(void)
{
	return totalram_pages() / 2;
}

unsigned int mshare_default_regions(void)
{
	return min(totalram_pages() / MSHARE_PAGES_PER_REGION,
		   (unsigned long)MSHARE_MANY_REGIONS);
}

struct mshare_limits *mshare_limits_alloc(void)
{
	struct mshare_limits *limits;

	limits = kzalloc(sizeof(*limits), GFP_KERNEL);
	if (!limits)
		return NULL;
	if (percpu_counter_init(&limits->used, 0, GFP_KERNEL)) {
		kfree(limits);
		return NULL;
	}

	refcount_set(&limits->users, 1);
	limits->max_pages = mshare_default_pages();
	limits->max_regions = mshare_default_regions();
	xa_init_flags(&limits->names, XA_FLAGS_ALLOC);
	return limits;
}

void mshare_limits_put(struct mshare_limits *limits)
{
	if (limits && refcount_dec_and_test(&limits->users)) {
		percpu_counter_destroy(&limits->used);
		/* The inodes have taken their names away. */
		WARN_ON_ONCE(!xa_empty(&limits->names));
		kfree(limits);
	}
}

/* The PUD and PMD tables of @region that entries of sharers point at. */
static s64 mshare_linked_tables(struct mshare_region *region)
{
	s64 tables = mshare_pud_slot(region, region->end - 1) + 1;
	unsigned long addr, span;

	for (addr = region->start; addr < region->end; addr += span) {
		span = mshare_span(region, addr);
		if (span == PUD_SIZE)
			tables++;
	}

	return tables;
}

static bool mshare_limits_charge(struct mshare_limits *limits, long pages)
{
	s64 max = READ_ONCE(limits->max_pages);

	if (max)
		return percpu_counter_limited_add(&limits->used, max, pages);

	percpu_counter_add(&limits->used, pages);
	return true;
}

/*
 * Count a new region against nr_regions=, and its linked tables against size=.
 * Return: false at a limit.
 */
bool mshare_limits_enter(struct mshare_limits *limits,
			 struct mshare_region *region)
{
	unsigned int max = READ_ONCE(limits->max_regions);
	int nr = atomic_read(&limits->nr_regions);

	do {
		if (max && nr >= max)
			return false;
	} while (!atomic_try_cmpxchg(&limits->nr_regions, &nr, nr + 1));

	region->tables = mshare_linked_tables(region);
	if (!mshare_limits_charge(limits, region->tables)) {
		atomic_dec(&limits->nr_regions);
		return false;
	}
	region->counted = region->tables;

	refcount_inc(&limits->users);
	/* Order the counts before mshare_count() sees the limits. */
	smp_store_release(&region->limits, limits);
	return true;
}

/* The region's struct is freed. Called by __mmdrop(), in any context. */
void mshare_limits_leave(struct mshare_region *region)
{
	struct mshare_limits *limits = region->limits;

	if (!limits)
		return;

	percpu_counter_sub(&limits->used, region->counted);
	atomic_dec(&limits->nr_regions);
	mshare_limits_put(limits);
}

/**
 * mshare_count - update the count of the anonymous memory and tables of @region
 * @region: held by the caller
 * @exact: sum up over all CPUs; otherwise only count larger changes
 *
 * May be called under spinlocks, and in any context if not @exact.
 */
void mshare_count(struct mshare_region *region, bool exact)
{
	struct percpu_counter *rss = region->mm->rss_stat;
	unsigned long flags;
	s64 pages;

	/* Pairs with mshare_limits_enter(). */
	if (!smp_load_acquire(&region->limits))
		return;

	if (exact) {
		spin_lock_irqsave(&region->count_lock, flags);
		pages = percpu_counter_sum(&rss[MM_ANONPAGES]) +
			percpu_counter_sum(&rss[MM_SWAPENTS]);
	} else {
		if (!mshare_count_is_old(region))
			return;
		/* Another task is counting already. */
		if (!spin_trylock_irqsave(&region->count_lock, flags))
			return;
		pages = mshare_pages_roughly(region);
	}

	pages += mshare_table_pages(region);
	percpu_counter_add(&region->limits->used, pages - region->counted);
	WRITE_ONCE(region->counted, pages);
	spin_unlock_irqrestore(&region->count_lock, flags);
}

static bool mshare_fits(struct mshare_limits *limits, long pages)
{
	s64 max = READ_ONCE(limits->max_pages);

	/* Exact where it matters: sums up over all CPUs near the limit. */
	return !max || percpu_counter_compare(&limits->used, max - pages) <= 0;
}

/*
 * May @host get that many more anonymous pages? Nothing is reserved, so each
 * CPU that asks at the same time may exceed the limit by one folio.
 */
bool __mshare_may_grow(struct mm_struct *host, long pages)
{
	struct mshare_region *region = host->mshare_host;

	if (!region->limits)
		return true;

	mshare_count(region, false);
	if (!READ_ONCE(region->limits->max_pages))
		return true;
	if (mshare_fits(region->limits, pages + MSHARE_COUNT_NEAR))
		return true;
	mshare_count(region, true);
	return mshare_fits(region->limits, pages);
}

/*
 * May a fault add a page table to @host? What is in memory already must stay in
 * reach at the limit. So tables may exceed it, by twice as many as a range of
 * that size needs that has no holes.
 */
bool __mshare_may_add_table(struct mm_struct *host)
{
	struct mshare_limits *limits = host->mshare_host->limits;
	long excess;

	if (!limits)
		return true;

	excess = READ_ONCE(limits->max_pages) / (PTRS_PER_PTE / 2);
	return __mshare_may_grow(host, 1 - excess);
}

/* Charge new blocks of an object that is, or has been, in a region. */
bool __mshare_charge_blocks(struct inode *inode, long pages)
{
	struct shmem_inode_info *info = SHMEM_I(inode);

	if (!mshare_limits_charge(info->mshare_limits, pages))
		return false;

	atomic_long_add(pages, &info->mshare_charged);
	return true;
}

/*
 * Uncharge freed blocks of such an object. Blocks that were being added when
 * the object was adopted have not been charged. So never uncharge more than the
 * object has been charged for.
 */
void __mshare_uncharge_blocks(struct inode *inode, long pages)
{
	struct shmem_inode_info *info = SHMEM_I(inode);
	long charged = atomic_long_read(&info->mshare_charged);
	long less;

	do {
		less = min(pages, charged);
		if (less <= 0)
			return;
	} while (!atomic_long_try_cmpxchg(&info->mshare_charged, &charged,
					  charged - less));
	percpu_counter_sub(&info->mshare_limits->used, less);
}

/* The object is being evicted, so there are no other users. */
void __mshare_release_blocks(struct inode *inode)
{
	struct shmem_inode_info *info = SHMEM_I(inode);
	struct mshare_limits *limits = info->mshare_limits;

	info->mshare_limits = NULL;
	percpu_counter_sub(&limits->used,
			   atomic_long_xchg(&info->mshare_charged, 0));
	mshare_limits_put(limits);
}

/* The object of @file, if mapping it into a region would adopt it. */
static struct shmem_inode_info *mshare_adoptable(struct file *file)
{
	struct shmem_sb_info *sbinfo;
	struct inode *inode;

	if (!file || !shmem_mapping(file->f_mapping))
		return NULL;

	inode = file->f_mapping->host;
	sbinfo = inode->i_sb->s_fs_info;
	/* Its own file system has a limit. */
	if (sbinfo->max_blocks)
		return NULL;

	return shmem_mshare_limits(SHMEM_I(inode)) ? NULL : SHMEM_I(inode);
}

/*
 * An object stays adopted, so a descriptor for reading alone does not permit it:
 * it must not give the right to limit another user's memory.
 */
bool mshare_may_adopt(struct file *file)
{
	return !mshare_adoptable(file) || (file->f_mode & FMODE_WRITE) ||
	       inode_owner_or_capable(file_mnt_idmap(file), file_inode(file));
}

/* The pages that mshare_adopt() would charge. */
unsigned long mshare_adopt_pages(struct file *file)
{
	struct shmem_inode_info *info = mshare_adoptable(file);

	return info ? READ_ONCE(info->alloced) : 0;
}

/**
 * mshare_adopt - charge a file that is about to be mapped into a region
 * @host: of the region
 * @file: any, or NULL
 *
 * An object stays adopted until it is freed, even if the mapping fails for lack
 * of memory. Does not sleep. Return: 0, -ENOSPC if it is too large, or -EPERM if
 * the caller may not have it adopted.
 */
int mshare_adopt(struct mm_struct *host, struct file *file)
{
	struct mshare_limits *limits = host->mshare_host->limits;
	struct shmem_inode_info *info = mshare_adoptable(file);
	int err = 0;

	if (!limits || !info)
		return 0;
	if (!mshare_may_adopt(file))
		return -EPERM;

	spin_lock(&info->lock);
	if (info->mshare_limits) {
		/* Another task has adopted it meanwhile. */
	} else if (!mshare_limits_charge(limits, info->alloced)) {
		err = -ENOSPC;
	} else {
		atomic_long_set(&info->mshare_charged, info->alloced);
		refcount_inc(&limits->users);
		/* Order the charge before shmem_mshare_limits() sees it. */
		smp_store_release(&info->mshare_limits, limits);
	}
	spin_unlock(&info->lock);

	return err;
}

