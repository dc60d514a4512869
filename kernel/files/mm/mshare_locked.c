// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare: charge the locked memory of regions to users.
 *
 * RLIMIT_MEMLOCK limits a process's own mm, and a region belongs to no process.
 * So locked memory is charged like that of SHM_LOCK: in the ucounts of the user
 * that locks it, over all regions and processes of the user, until it is
 * unlocked or freed. A region has a ledger of the pages that each user has
 * locked. Which pages these are is not recorded, so that VMAs can be split and
 * merged. What is unlocked is uncharged from the user that unlocks it, and then
 * from the user that locked first.
 *
 * The ledger is protected by the host's mmap_lock, held for writing. Its sum
 * equals the host's locked_vm whenever that lock is dropped.
 */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/mm.h>
#include <linux/mshare_bound.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/user_namespace.h>

#include "mshare.h"

struct mshare_locker {
	struct list_head node;		/* mshare_region.lockers, oldest first */
	struct ucounts *ucounts;
	unsigned long pages;
};

/* The caller's entry in the ledger, which is added if missing. */
static struct mshare_locker *mshare_find_locker(struct mshare_region *region,
						gfp_t gfp)
{
	struct ucounts *ucounts = current_ucounts();
	struct mshare_locker *locker;

	list_for_each_entry(locker, &region->lockers, node)
		if (locker->ucounts == ucounts)
			return locker;

	locker = kzalloc(sizeof(*locker), gfp);
	if (!locker)
		return NULL;
	locker->ucounts = get_ucounts(ucounts);
	if (!locker->ucounts) {
		kfree(locker);
		return NULL;
	}
	list_add_tail(&locker->node, &region->lockers);
	return locker;
}

static void mshare_take_off(struct mshare_locker *locker, unsigned long pages)
{
	dec_rlimit_ucounts(locker->ucounts, UCOUNT_RLIMIT_MEMLOCK, pages);
	locker->pages -= pages;
	if (locker->pages)
		return;

	list_del(&locker->node);
	put_ucounts(locker->ucounts);
	kfree(locker);
}

/* The caller's limit, in pages. */
static unsigned long mshare_lock_limit(void)
{
	unsigned long limit = rlimit(RLIMIT_MEMLOCK);

	return limit == RLIM_INFINITY ? LONG_MAX : limit >> PAGE_SHIFT;
}

/*
 * Could the caller lock that many more pages? For an early error. The final
 * check is in mshare_charge_locked().
 */
bool mshare_may_lock(unsigned long pages)
{
	unsigned long used = get_rlimit_value(current_ucounts(),
					      UCOUNT_RLIMIT_MEMLOCK);

	return used + pages <= mshare_lock_limit() || capable(CAP_IPC_LOCK);
}

/**
 * __mshare_charge_locked - count pages against the caller's RLIMIT_MEMLOCK
 * @host: locked for writing
 * @pages: how many are about to be locked in it
 * @limited: false: charge again what has been charged before, which cannot fail
 *
 * With CAP_IPC_LOCK there is no limit, but pages are counted all the same. May
 * sleep. Return: 0; -ENOMEM if that exceeds the limit, or for lack of memory.
 */
int __mshare_charge_locked(struct mm_struct *host, unsigned long pages,
			   bool limited)
{
	struct mshare_locker *locker;
	long locked;

	mmap_assert_write_locked(host);

	if (!pages)
		return 0;

	locker = mshare_find_locker(host->mshare_host, limited ?
				    GFP_KERNEL_ACCOUNT :
				    GFP_KERNEL | __GFP_NOFAIL);
	/* Also if the reference count of the ucounts is at its maximum. */
	if (!locker)
		return -ENOMEM;

	locked = inc_rlimit_ucounts(locker->ucounts, UCOUNT_RLIMIT_MEMLOCK,
				    pages);
	locker->pages += pages;
	if (limited && (locked == LONG_MAX || locked > mshare_lock_limit()) &&
	    !capable(CAP_IPC_LOCK)) {
		mshare_take_off(locker, pages);
		return -ENOMEM;
	}

	return 0;
}

/* Uncharge @pages that are no longer locked. @host is locked for writing. */
void __mshare_uncharge_locked(struct mm_struct *host, unsigned long pages)
{
	struct mshare_region *region = host->mshare_host;
	struct mshare_locker *locker, *next;
	unsigned long n;

	mmap_assert_write_locked(host);

	list_for_each_entry(locker, &region->lockers, node) {
		if (!pages)
			return;
		if (locker->ucounts != current_ucounts())
			continue;
		n = min(pages, locker->pages);
		mshare_take_off(locker, n);
		pages -= n;
		break;
	}

	list_for_each_entry_safe(locker, next, &region->lockers, node) {
		if (!pages)
			return;
		n = min(pages, locker->pages);
		mshare_take_off(locker, n);
		pages -= n;
	}
	WARN_ON_ONCE(pages);
}

/* Uncharge everything: the region is being freed. */
void mshare_free_lockers(struct mshare_region *region)
{
	struct mshare_locker *locker, *next;

	list_for_each_entry_safe(locker, next, &region->lockers, node)
		mshare_take_off(locker, locker->pages);
}

/* For the check: the sum of the ledger. The host is locked. */
unsigned long mshare_sum_lockers(struct mshare_region *region)
{
	struct mshare_locker *locker;
	unsigned long pages = 0;

	list_for_each_entry(locker, &region->lockers, node)
		pages += locker->pages;
	return pages;
}
