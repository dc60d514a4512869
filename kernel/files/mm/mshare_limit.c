// SPDX-License-Identifier: GPL-2.0-only
/*
 * How much a region may take, and who answers for what it has taken.
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
 * What a region has is in no process's counters. It is shared out among the
 * sharers, so that those who fill it come before those who have nothing to do
 * with it, and a thousand of them do not count it a thousand times.
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
 * mshare_oom_points - what @mm has by its windows
 * @mm: of a task that is locked by task_lock()
 *
 * Takes no lock, and may be called under spinlocks. A host is freed without a
 * grace period: it is looked at with its region held.
 *
 * Return: pages, to be added to those that @mm has itself.
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
 * It bounds what nothing else does: the anonymous pages of all regions, their
 * swap entries, and the blocks of shared-memory objects without a limit of
 * their own, as shared anonymous memory and memfds are. Files of a disk or of a
 * tmpfs that has a size are not counted.
 *
 * Anonymous pages are counted by the host as in any mm. A region adds what has
 * changed since it last did so when a pin on it is given back, that is after
 * every fault and every call that changes it, if that is MSHARE_COUNT_SLACK
 * pages or more. The check at the limit itself is as exact as the host's
 * counters can be read.
 *
 * A shared-memory object is adopted when it is first mapped into a region, and
 * counts until it is evicted: it keeps its pages as long, mapped or not.
 */

/* Pages that a region may have changed by before it says so. */
#define MSHARE_COUNT_SLACK	16
/* How near to the limit the host's counters are asked in earnest. */
#define MSHARE_COUNT_NEAR	(MSHARE_COUNT_SLACK + \
				 2 * percpu_counter_batch * num_online_cpus())

/* Regions by default: one per that many pages of memory, and never more than. */
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
	return limits;
}

void mshare_limits_put(struct mshare_limits *limits)
{
	if (limits && refcount_dec_and_test(&limits->users)) {
		percpu_counter_destroy(&limits->used);
		kfree(limits);
	}
}

/* A new region takes one of the places that nr_regions= allows. */
bool mshare_limits_enter(struct mshare_limits *limits,
			 struct mshare_region *region)
{
	unsigned int max = READ_ONCE(limits->max_regions);
	int nr = atomic_read(&limits->nr_regions);

	do {
		if (max && nr >= max)
			return false;
	} while (!atomic_try_cmpxchg(&limits->nr_regions, &nr, nr + 1));

	refcount_inc(&limits->users);
	region->limits = limits;
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
 * mshare_count - make known what the anonymous memory of @region has become
 * @region: held by the caller
 * @exact: ask every CPU; else only if it seems to be worth while
 *
 * May be called under spinlocks, and in any context if not @exact.
 */
void mshare_count(struct mshare_region *region, bool exact)
{
	struct percpu_counter *rss = mshare_region_mm(region)->rss_stat;
	unsigned long flags;
	s64 pages;

	if (!region->limits)
		return;

	if (exact) {
		spin_lock_irqsave(&region->count_lock, flags);
		pages = percpu_counter_sum(&rss[MM_ANONPAGES]) +
			percpu_counter_sum(&rss[MM_SWAPENTS]);
	} else {
		pages = percpu_counter_read(&rss[MM_ANONPAGES]) +
			percpu_counter_read(&rss[MM_SWAPENTS]);
		if (abs(pages - READ_ONCE(region->counted)) <
		    MSHARE_COUNT_SLACK)
			return;
		/* Somebody else is at it. */
		if (!spin_trylock_irqsave(&region->count_lock, flags))
			return;
	}

	percpu_counter_add(&region->limits->used, pages - region->counted);
	WRITE_ONCE(region->counted, pages);
	spin_unlock_irqrestore(&region->count_lock, flags);
}

static bool mshare_fits(struct mshare_limits *limits, long pages)
{
	s64 max = READ_ONCE(limits->max_pages);

	/* As exact as need be: it asks every CPU when the limit is near. */
	return !max || percpu_counter_compare(&limits->used, max - pages) <= 0;
}

/*
 * May @host get that many anonymous pages more? Nothing is taken yet: each CPU
 * that asks at the same time may be one folio over.
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

#ifdef CONFIG_SHMEM

static bool mshare_limits_charge(struct mshare_limits *limits, long pages)
{
	s64 max = READ_ONCE(limits->max_pages);

	if (max)
		return percpu_counter_limited_add(&limits->used, max, pages);

	percpu_counter_add(&limits->used, pages);
	return true;
}

/* An object that is in a region, or has been, gets more blocks. */
bool __mshare_charge_blocks(struct inode *inode, long pages)
{
	struct shmem_inode_info *info = SHMEM_I(inode);

	if (!mshare_limits_charge(info->mshare_limits, pages))
		return false;

	atomic_long_add(pages, &info->mshare_charged);
	return true;
}

/*
 * ... and gives some back. Those that were on their way into it when it was
 * adopted have not been charged: the rest is what has been.
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

/* The object is evicted: nobody else has it. */
void __mshare_release_blocks(struct inode *inode)
{
	struct shmem_inode_info *info = SHMEM_I(inode);
	struct mshare_limits *limits = info->mshare_limits;

	info->mshare_limits = NULL;
	percpu_counter_sub(&limits->used,
			   atomic_long_xchg(&info->mshare_charged, 0));
	mshare_limits_put(limits);
}

/* The object that @file is, if it will count once it is in a region. */
static struct shmem_inode_info *mshare_adoptable(struct file *file)
{
	struct shmem_sb_info *sbinfo;
	struct inode *inode;

	if (!file || !shmem_mapping(file->f_mapping))
		return NULL;

	inode = file->f_mapping->host;
	sbinfo = inode->i_sb->s_fs_info;
	/* Its own file system has a size. */
	if (sbinfo->max_blocks)
		return NULL;

	return shmem_mshare_limits(SHMEM_I(inode)) ? NULL : SHMEM_I(inode);
}

/* The pages by which mshare_adopt() would bring a region nearer to the limit. */
unsigned long mshare_adopt_pages(struct file *file)
{
	struct shmem_inode_info *info = mshare_adoptable(file);

	return info ? READ_ONCE(info->alloced) : 0;
}

/**
 * mshare_adopt - a file is about to be mapped into a region
 * @host: of the region
 * @file: any, or NULL
 *
 * An object that is adopted stays so if it is not mapped after all. Does not
 * sleep. Return: 0, or -ENOSPC if it is too large.
 */
int mshare_adopt(struct mm_struct *host, struct file *file)
{
	struct mshare_limits *limits = host->mshare_host->limits;
	struct shmem_inode_info *info = mshare_adoptable(file);
	int err = 0;

	if (!limits || !info)
		return 0;

	spin_lock(&info->lock);
	if (info->mshare_limits) {
		/* Somebody else was faster. */
	} else if (!mshare_limits_charge(limits, info->alloced)) {
		err = -ENOSPC;
	} else {
		atomic_long_set(&info->mshare_charged, info->alloced);
		refcount_inc(&limits->users);
		/* What is charged before who it is charged to. */
		smp_store_release(&info->mshare_limits, limits);
	}
	spin_unlock(&info->lock);

	return err;
}

#endif /* CONFIG_SHMEM */
