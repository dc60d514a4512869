// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare: regions and their host mms.
 *
 * The mappings and page tables of a region belong to a host mm that no task
 * ever runs on. A sharer has one placeholder VMA per window, and its own P4D or
 * PUD entries there point at the host's tables. Code that acts on a
 * window looks up the host and works on it, under the host's locks: vma->vm_mm
 * is always the mm whose lock is held and whose tables and counters change.
 *
 * Windows are in mshare_window.c, flushes in mshare_flush.c, and what system
 * calls do to a region by way of a window begins in mshare_redirect.c.
 * See Documentation/mm/mshare.rst.
 */
#include <linux/mm.h>
#include <linux/sched/coredump.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/sysctl.h>

#include <asm/tlb.h>

#include "internal.h"
#include "mshare.h"

#define CREATE_TRACE_POINTS
#include <trace/events/mshare.h>

DEFINE_STATIC_KEY_FALSE(mshare_key);

struct workqueue_struct *mshare_wq;

/* A host mm's lock nests inside a sharer's. */
static struct lock_class_key mshare_host_mmap_key;

/*
 * Free the tables of all granules of a range that contain no VMA: exit_mmap()
 * goes by VMAs and would leave them. No VMA straddles the border of the range.
 * Adjacent granules must be freed in one call, as the first call that finds
 * nothing around its range frees the tables above too. A VMA outside the range
 * keeps the tables that it needs.
 */
void mshare_free_empty_granules(struct mm_struct *mm, unsigned long range_start,
				unsigned long range_end)
{
	unsigned long floor, ceiling, start, end;
	struct vm_area_struct *vma, *next;
	struct vma_iterator vmi;
	struct mmu_gather tlb;

	find_vma_prev(mm, range_start, &vma);
	floor = vma ? vma->vm_end : 0;
	vma_iter_init(&vmi, mm, range_start);
	do {
		vma = vma_find(&vmi, range_end);
		next = vma ?: find_vma(mm, range_end);
		ceiling = next ? next->vm_start : 0;
		start = max(ALIGN(floor, PUD_SIZE), range_start);
		end = vma ? ALIGN_DOWN(vma->vm_start, PUD_SIZE) : range_end;
		if (start < end) {
			tlb_gather_mmu(&tlb, mm);
			free_pgd_range(&tlb, start, end, floor, ceiling);
			tlb_finish_mmu(&tlb);
		}
		if (vma)
			floor = vma->vm_end;
	} while (vma);
}

/*
 * poll() reports changes of the number of sharers at most this often. Otherwise
 * a process could keep others busy by attaching and detaching all the time.
 */
#define MSHARE_TELL_INTERVAL	msecs_to_jiffies(20)

static void mshare_tell(struct mshare_region *region)
{
	spin_lock(&region->lock);
	WRITE_ONCE(region->told_at, jiffies);
	WRITE_ONCE(region->told, atomic_read(&region->changes));
	spin_unlock(&region->lock);

	/* Pairs with the barrier in poll_wait(). */
	if (wq_has_sleeper(&region->poll))
		wake_up_interruptible(&region->poll);
}

static void mshare_tell_work(struct work_struct *work)
{
	mshare_tell(container_of(to_delayed_work(work), struct mshare_region,
				 tell));
}

/* Wake those that poll the region's file, but not too often. */
void mshare_sharers_changed(struct mshare_region *region)
{
	atomic_inc(&region->changes);
	/* Make the change visible before looking for work that reports it. */
	smp_mb__after_atomic();
	if (delayed_work_pending(&region->tell))
		return;

	if (time_before(jiffies, READ_ONCE(region->told_at) +
				 MSHARE_TELL_INTERVAL))
		queue_delayed_work(mshare_wq, &region->tell,
				   MSHARE_TELL_INTERVAL);
	else
		mshare_tell(region);
}

/* There are no holders and no pins any more, hence no sharers. Cannot fail. */
static void mshare_teardown(struct work_struct *work)
{
	struct mshare_region *region = container_of(work, struct mshare_region,
						    teardown);
	struct mm_struct *host = region->mm;

	/* The number of sharers is final, and POLLHUP must not be delayed. */
	cancel_delayed_work_sync(&region->tell);
	mshare_tell(region);

	mmap_write_lock(host);
	set_bit(MSHARE_REGION_DYING, &region->flags);
	mshare_free_empty_granules(host, region->start, region->end);
	mmap_write_unlock(host);

	/*
	 * swapoff may keep the host longer, and an inode may keep its
	 * mm_struct. __mmdrop() frees the region.
	 */
	mmgrab(host);
	mmput(host);
	WRITE_ONCE(region->tables, 0);
	mshare_count(region, true);
	mmdrop(host);
}

/* Called by __mmdrop(): nothing can ask for a flush of this mm any more. */
void __mshare_mm_free(struct mm_struct *mm)
{
	struct mshare_region *region = mm->mshare_host;

	WARN_ON_ONCE(!hlist_empty(&mm->mshare_attached));
	if (!region)
		return;

	WARN_ON_ONCE(!list_empty(&region->sharers));
	mshare_free_lockers(region);
	mshare_debug_del(region);
	percpu_ref_exit(&region->pin);
	mshare_limits_leave(region);
	kfree_rcu(region, rcu);
}

/* The last pin may be dropped in a context that must not free 300 GiB. */
static void mshare_unpinned(struct percpu_ref *pin)
{
	struct mshare_region *region = container_of(pin, struct mshare_region,
						    pin);

	queue_work(mshare_wq, &region->teardown);
}

/*
 * Allocate the tables that sharers will link to, except PMD tables: a donor may
 * bring some.
 */
static int mshare_alloc_host_tables(struct mshare_region *region)
{
	struct mm_struct *host = region->mm;
	unsigned long addr, span;
	p4d_t *p4d;

	for (addr = region->start; addr < region->end; addr += span) {
		span = mshare_span(region, addr);
		p4d = p4d_alloc(host, pgd_offset(host, addr), addr);
		if (!p4d || !pud_alloc(host, p4d, addr))
			return -ENOMEM;
		if (fatal_signal_pending(current))
			return -EINTR;
	}

	return 0;
}

static bool mshare_has_pmd_table(struct mm_struct *mm, unsigned long addr)
{
	pgd_t *pgd = pgd_offset(mm, addr);
	p4d_t *p4d;

	if (pgd_none(*pgd))
		return false;
	p4d = p4d_offset(pgd, addr);

	return !p4d_none(*p4d) && !pud_none(*pud_offset(p4d, addr));
}

/**
 * mshare_alloc_host_pmds - allocate the PMD tables that sharers will link to
 * @region: new, its host locked for writing
 * @donor: locked for writing, also its VMAs in the range. The tables that it has
 *	will be the host's. NULL if there is no donor
 *
 * May sleep. Return: 0, -ENOMEM, or -EINTR. After an error the tables that were
 * allocated stay in the host.
 */
int mshare_alloc_host_pmds(struct mshare_region *region,
			   struct mm_struct *donor)
{
	struct mm_struct *host = region->mm;
	unsigned long addr, span;

	mmap_assert_write_locked(host);

	for (addr = region->start; addr < region->end; addr += span) {
		span = mshare_span(region, addr);
		if (span != PUD_SIZE)
			continue;
		if (donor && mshare_has_pmd_table(donor, addr))
			continue;
		if (!pmd_alloc(host, mshare_pud_offset(host, addr), addr))
			return -ENOMEM;
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}

	return 0;
}

/**
 * mshare_region_create - make a region without a name or a sharer
 * @name: its future name
 * @start: first byte, aligned to PUD_SIZE
 * @end: one behind its last byte, aligned to PUD_SIZE
 * @readonly: no sharer can ever write to it
 *
 * May sleep. Return: the region, held once by the caller (see mshare_drop()),
 * or an ERR_PTR().
 */
struct mshare_region *mshare_region_create(const char *name,
					   unsigned long start,
					   unsigned long end, bool readonly)
{
	struct mshare_region *region;
	struct mm_struct *host;
	int err;

	region = kzalloc(sizeof(*region), GFP_KERNEL_ACCOUNT);
	if (!region)
		return ERR_PTR(-ENOMEM);

	err = percpu_ref_init(&region->pin, mshare_unpinned, 0,
			      GFP_KERNEL_ACCOUNT);
	if (err)
		goto err_region;

	err = -ENOMEM;
	host = mm_alloc();
	if (!host)
		goto err_pin;

	/* mm_alloc() makes the caller the owner: undo that. */
#ifdef CONFIG_MEMCG
	RCU_INIT_POINTER(host->owner, NULL);
#endif
	/*
	 * MGLRU does not walk a host, as fork() and exec() alone call
	 * lru_gen_add_mm(). Its pages age by reverse mapping.
	 *
	 * The new mm inherits PR_SET_THP_DISABLE, as with fork().
	 */
	host->flags = MMF_DUMP_FILTER_DEFAULT |
		      (current->mm->flags & MMF_DISABLE_THP_MASK);
	host->def_flags = 0;
	host->task_size = TASK_SIZE_MAX;
	lockdep_set_class(&host->mmap_lock, &mshare_host_mmap_key);

	region->mm = host;
	region->start = start;
	region->end = end;
	if (readonly)
		set_bit(MSHARE_REGION_RO, &region->flags);
	refcount_set(&region->holders, 1);
	atomic_set(&region->nr_sharers, 0);
	atomic_set(&region->nr_writers, 0);
	spin_lock_init(&region->lock);
	spin_lock_init(&region->count_lock);
	init_waitqueue_head(&region->poll);
	INIT_LIST_HEAD(&region->sharers);
	INIT_LIST_HEAD(&region->lockers);
	INIT_WORK(&region->teardown, mshare_teardown);
	INIT_DELAYED_WORK(&region->tell, mshare_tell_work);
	region->told_at = jiffies - MSHARE_TELL_INTERVAL;
	strscpy(region->name, name, sizeof(region->name));

	host->mshare_host = region;

	mshare_debug_add(region);
	err = mshare_alloc_host_tables(region);
	if (err) {
		mshare_drop(region);
		return ERR_PTR(err);
	}

	return region;

err_pin:
	percpu_ref_exit(&region->pin);
err_region:
	kfree(region);
	return ERR_PTR(err);
}

/* Count a new name or window. Return: false if the contents are being freed. */
bool mshare_hold(struct mshare_region *region)
{
	return refcount_inc_not_zero(&region->holders);
}

/*
 * After the last hold no new pin can be taken. When the last pin is dropped,
 * the contents are freed, after the grace period that percpu_ref_kill() needs.
 */
void mshare_drop(struct mshare_region *region)
{
	if (refcount_dec_and_test(&region->holders))
		percpu_ref_kill(&region->pin);
}

void __mshare_put(struct mshare_region *region)
{
	/* What the pin was taken for may have changed the amount of memory. */
	if (mshare_count_is_old(region))
		mshare_count(region, false);
	percpu_ref_put(&region->pin);
}

struct mm_struct *mshare_region_mm(struct mshare_region *region)
{
	return region->mm;
}

const char *mshare_region_name(struct mshare_region *region)
{
	return region->name;
}

bool mshare_region_holds(struct mshare_region *region, unsigned long start,
			 unsigned long len)
{
	return start >= region->start && start < region->end &&
	       len <= region->end - start;
}

int mshare_nr_sharers(struct mm_struct *host)
{
	return atomic_read(&host->mshare_host->nr_sharers);
}

bool __mshare_tables_pinned(struct mm_struct *mm)
{
	return !test_bit(MSHARE_REGION_DYING, &mm->mshare_host->flags) &&
	       !mshare_skip_table_pin;
}

bool __mshare_pmd_pinned(struct mm_struct *mm, unsigned long addr)
{
	return __mshare_tables_pinned(mm) &&
	       !mshare_in_whole_unit(mm->mshare_host, addr);
}

/* The granule is the least that an entry of a sharer may link. */
static unsigned long mshare_size = PUD_SIZE;
static_assert(CONFIG_PGTABLE_LEVELS >= 4);

static struct ctl_table mshare_sysctls[] = {
	{
		.procname	= "mshare_size",
		.data		= &mshare_size,
		.maxlen		= sizeof(mshare_size),
		.mode		= 0444,
		.proc_handler	= proc_doulongvec_minmax,
	},
};

/* A context switch must read no cache line for mshare alone; see mm_struct. */
#if defined(CONFIG_MEMBARRIER) && !defined(CONFIG_RANDSTRUCT)
#define mm_cache_line(field) \
	(offsetof(struct mm_struct, field) / SMP_CACHE_BYTES)
static_assert(mm_cache_line(mshare_attached) == mm_cache_line(pgd) ||
	      mm_cache_line(mshare_attached) == mm_cache_line(membarrier_state));
#endif

static int __init mshare_init(void)
{
	/* Freeing a region frees memory, so the queue needs a rescuer. */
	mshare_wq = alloc_workqueue("mshare", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	if (!mshare_wq)
		return -ENOMEM;

	register_sysctl_init("vm", mshare_sysctls);
	return 0;
}
core_initcall(mshare_init);
