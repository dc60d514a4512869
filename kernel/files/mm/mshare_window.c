// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare: windows, in which a sharer sees a region.
 *
 * A window is a placeholder VMA, an attachment that ties its mm to the region,
 * and the entries that link the host's page tables. This has the look-up of
 * windows and their life: attach, fork, detach.
 */
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/perf_event.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <trace/events/mshare.h>

#include <asm/mshare.h>
#include <asm/tlbflush.h>

#include "internal.h"
#include "mshare.h"
#include "vma.h"

/*
 * The list of attachments changes under mm->page_table_lock. A detach may hold
 * mmap_lock for reading only: hence all readers use RCU.
 */

struct mshare_region *__mshare_get(struct mm_struct *mm, unsigned long addr,
				   bool *writable)
{
	struct mshare_region *region = NULL;
	struct mshare_attach *att;

	rcu_read_lock();
	hlist_for_each_entry_rcu(att, &mm->mshare_attached, mm_node) {
		if (addr < att->start || addr >= att->end)
			continue;
		/* Being attached or detached. */
		if (!smp_load_acquire(&att->linked))
			break;
		if (percpu_ref_tryget_live(&att->region->pin)) {
			region = att->region;
			*writable = att->writable;
		}
		break;
	}
	rcu_read_unlock();

	return region;
}

bool __mshare_overlaps(struct mm_struct *mm, unsigned long start,
		       unsigned long len)
{
	unsigned long end = start + len;
	struct mshare_attach *att;
	bool overlaps = false;

	if (end < start)
		end = ULONG_MAX;

	rcu_read_lock();
	hlist_for_each_entry_rcu(att, &mm->mshare_attached, mm_node) {
		if (start < att->end && end > att->start) {
			overlaps = true;
			break;
		}
	}
	rcu_read_unlock();

	return overlaps;
}

bool __mshare_covers(struct mm_struct *mm, unsigned long start,
		     unsigned long end)
{
	struct mshare_attach *att;
	bool covers = false;

	rcu_read_lock();
	hlist_for_each_entry_rcu(att, &mm->mshare_attached, mm_node) {
		if (start >= att->start && end <= att->end) {
			covers = true;
			break;
		}
	}
	rcu_read_unlock();

	return covers;
}

bool mshare_vma_writable(struct vm_area_struct *vma)
{
	struct mshare_attach *att = vma->vm_private_data;

	return att && att->writable;
}

/* NULL for the incomplete child of a fork() that has failed. */
struct mm_struct *mshare_vma_host(struct vm_area_struct *vma)
{
	struct mshare_attach *att = vma->vm_private_data;

	return att ? att->region->mm : NULL;
}

/* fork() copies the parent's vm_private_data; mshare_fork() sets its own. */
static void mshare_vm_open(struct vm_area_struct *vma)
{
	vma->vm_private_data = NULL;
}

static void mshare_vm_close(struct vm_area_struct *vma)
{
	WARN_ON_ONCE(vma->vm_private_data);
}

static int mshare_vm_may_split(struct vm_area_struct *vma, unsigned long addr)
{
	return -EINVAL;
}

static int mshare_vm_mprotect(struct vm_area_struct *vma, unsigned long start,
			      unsigned long end, unsigned long newflags)
{
	return -EINVAL;
}

static vm_fault_t mshare_vm_fault(struct vm_fault *vmf)
{
	return VM_FAULT_SIGBUS;
}

static const struct vm_operations_struct mshare_vm_ops = {
	.open		= mshare_vm_open,
	.close		= mshare_vm_close,
	.may_split	= mshare_vm_may_split,
	.mprotect	= mshare_vm_mprotect,
	.fault		= mshare_vm_fault,
};

static void mshare_attach_free(struct work_struct *work)
{
	struct mshare_attach *att = container_of(to_rcu_work(work),
						 struct mshare_attach, free);

	mmdrop(att->mm);
	kfree(att);
}

/* Return: the attachment, -ENOMEM, or -ENOENT if the region is being freed. */
static struct mshare_attach *mshare_attach_alloc(struct mm_struct *mm,
						 struct mshare_region *region,
						 bool writable)
{
	struct mshare_attach *att;

	if (!mshare_hold(region))
		return ERR_PTR(-ENOENT);

	att = kzalloc(sizeof(*att), GFP_KERNEL_ACCOUNT);
	if (!att) {
		mshare_drop(region);
		return ERR_PTR(-ENOMEM);
	}

	mmgrab(mm);
	att->mm = mm;
	att->region = region;
	att->start = region->start;
	att->end = region->end;
	att->writable = writable;
	INIT_RCU_WORK(&att->free, mshare_attach_free);

	return att;
}

/* Undo mshare_attach_alloc(), before the attachment has been published. */
static void mshare_attach_abort(struct mshare_attach *att)
{
	mshare_drop(att->region);
	mmdrop(att->mm);
	kfree(att);
}

/*
 * Allocate the tables for the entries of a window: PUD tables where the region
 * does not fill them, so that they can hold other entries of @mm as well, and
 * with five levels P4D tables.
 */
static int mshare_alloc_slots(struct mm_struct *mm,
			      struct mshare_region *region)
{
	unsigned long addr, span;
	p4d_t *p4d;

	for (addr = region->start; addr < region->end; addr += span) {
		span = mshare_span(region, addr);
		p4d = p4d_alloc(mm, pgd_offset(mm, addr), addr);
		if (!p4d)
			return -ENOMEM;
		if (span == PUD_SIZE && !pud_alloc(mm, p4d, addr))
			return -ENOMEM;
	}

	return 0;
}

static bool mshare_slots_empty(struct mm_struct *mm,
			       struct mshare_region *region)
{
	unsigned long addr, span;

	for (addr = region->start; addr < region->end; addr += span) {
		span = mshare_span(region, addr);
		if (span == P4D_SIZE ? !p4d_none(*mshare_p4d_offset(mm, addr)) :
				       !pud_none(*mshare_pud_offset(mm, addr)))
			return false;
	}

	return true;
}

/*
 * Make flushes of the host reach the mm. A CPU that switches to the mm finds
 * the window on the mm's list, a CPU that has it loaded gets an IPI, and what
 * other CPUs have cached of it becomes stale. All this happens before the
 * entries are set: if a flush misses a CPU, its PTE was changed before the
 * entries appeared, and a walk through them sees the new PTE. Pairs with the
 * barrier in mshare_flush_tlb().
 */
static void mshare_publish_flush(struct mshare_attach *att)
{
	struct mshare_region *region = att->region;
	struct mm_struct *mm = att->mm;

	atomic_inc(&region->nr_sharers);
	if (att->writable)
		atomic_inc(&region->nr_writers);
	spin_lock(&region->lock);
	list_add_tail_rcu(&att->region_node, &region->sharers);
	spin_unlock(&region->lock);

	spin_lock(&mm->page_table_lock);
	hlist_add_head_rcu(&att->mm_node, &mm->mshare_attached);
	spin_unlock(&mm->page_table_lock);

	mshare_enter_cpus(att);
}

/*
 * Link a whole PUD table. A donor's own one, whose entries the host has taken
 * over, is returned in @puds.
 */
static void mshare_link_p4d(struct mshare_attach *att, unsigned long addr,
			    pud_t **puds)
{
	p4d_t *p4d = mshare_p4d_offset(att->mm, addr);
	p4d_t theirs = *mshare_p4d_offset(att->region->mm, addr);

	if (puds && !p4d_none(*p4d))
		puds[mshare_pud_slot(att->region, addr)] = p4d_pgtable(*p4d);
	arch_mshare_link_p4d(p4d, p4d_pgtable(theirs), att->writable);
}

/* Link a PMD table. The sharer keeps its PUD table, also a donor. */
static void mshare_link_pud(struct mshare_attach *att, unsigned long addr)
{
	pud_t theirs = *mshare_pud_offset(att->region->mm, addr);

	arch_mshare_link_pud(mshare_pud_offset(att->mm, addr),
			     pud_pgtable(theirs), att->writable);
}

/*
 * Set the entries: the mm is a sharer now. Until here the entries of a donor
 * point at its own tables.
 */
static void mshare_publish_entries(struct mshare_attach *att, pud_t **puds)
{
	struct mm_struct *mm = att->mm;
	unsigned long addr, span;

	/* This also excludes faults that set other entries of a PUD table. */
	spin_lock(&mm->page_table_lock);
	for (addr = att->region->start; addr < att->region->end; addr += span) {
		span = mshare_span(att->region, addr);
		if (span == P4D_SIZE)
			mshare_link_p4d(att, addr, puds);
		else
			mshare_link_pud(att, addr);
	}
	/* Order the entries before @linked; see __mshare_get(). */
	smp_store_release(&att->linked, true);
	spin_unlock(&mm->page_table_lock);

	mshare_sharers_changed(att->region);
	trace_mshare_attach(att->region, att->writable,
			    atomic_read(&att->region->nr_sharers));
}

static void mshare_publish(struct mshare_attach *att)
{
	mshare_publish_flush(att);
	mshare_publish_entries(att, NULL);
}

/*
 * Move the VMAs of a donor into the host and put the placeholder in their
 * place. After the preallocation nothing can fail.
 */
static int mshare_replace_vmas(struct vm_area_struct *vma,
			       struct mshare_donation *donation)
{
	struct mshare_attach *att = vma->vm_private_data;
	struct mm_struct *host = att->region->mm;
	struct mm_struct *mm = vma->vm_mm;
	struct vma_iterator vmi;

	vma_iter_init(&vmi, mm, vma->vm_start);
	vma_iter_config(&vmi, vma->vm_start, vma->vm_end);
	if (vma_iter_prealloc(&vmi, vma))
		return -ENOMEM;

	mshare_publish_flush(att);
	mshare_donate_commit(host, mm, att->start, att->end, donation);

	vma_start_write(vma);
	vma_iter_store(&vmi, vma);
	vma_link_file(vma);
	mm->map_count++;

	mshare_publish_entries(att, donation->puds);
	mshare_donate_finish(host, mm, att->start, att->end, donation);
	return 0;
}

/*
 * Each switch to an mm, and each flush, walks all its windows with interrupts
 * off: limit their number.
 */
static bool mshare_windows_full(struct mm_struct *mm)
{
	struct mshare_attach *att;
	int windows = 0;

	mmap_assert_write_locked(mm);

	hlist_for_each_entry(att, &mm->mshare_attached, mm_node)
		windows++;

	return windows >= MSHARE_MAX_WINDOWS;
}

/**
 * mshare_attach - make @mm a sharer of @region
 * @mm: locked for writing
 * @region: @file keeps the struct, but nothing keeps the contents
 * @file: an open file of the region
 * @writable: whether stores through the window are allowed
 * @donation: prepared mappings of @mm in the range, with the host locked for
 *	writing; or NULL, in which case the range must be empty
 *
 * May sleep. Return: 0 or an error, with nothing changed; -ENOENT if the region
 * has lost its last name and sharer.
 */
int mshare_attach(struct mm_struct *mm, struct mshare_region *region,
		  struct file *file, bool writable,
		  struct mshare_donation *donation)
{
	unsigned long len = region->end - region->start;
	struct mshare_attach *att;
	struct vm_area_struct *vma;
	vm_flags_t flags;
	int err;

	mmap_assert_write_locked(mm);

	/* For the right error; the final check is in mshare_attach_alloc(). */
	if (!refcount_read(&region->holders))
		return -ENOENT;
	/* A secondary MMU would not learn of changes in the host. */
	if (mm_has_notifiers(mm))
		return -EBUSY;
	if (!donation && find_vma_intersection(mm, region->start, region->end))
		return -EEXIST;
	if (mm->map_count >= sysctl_max_map_count || mshare_windows_full(mm))
		return -ENOMEM;

	/*
	 * VM_PFNMAP and VM_IO make every path that has not been taught about
	 * windows refuse or skip this VMA.
	 */
	flags = VM_MSHARE | VM_PFNMAP | VM_IO | VM_DONTEXPAND | VM_DONTDUMP |
		VM_SHARED | VM_MAYSHARE | VM_READ | VM_MAYREAD | VM_SOFTDIRTY;
	if (writable)
		flags |= VM_WRITE | VM_MAYWRITE;

	if (!may_expand_vm(mm, flags, (len >> PAGE_SHIFT) -
			   (donation ? donation->pages : 0)))
		return -ENOMEM;
	if (donation) {
		err = mshare_donate_adopt(region->mm, donation);
		if (err)
			return err;
	}

	att = mshare_attach_alloc(mm, region, writable);
	if (IS_ERR(att))
		return PTR_ERR(att);

	err = -ENOMEM;
	vma = vm_area_alloc(mm);
	if (!vma)
		goto err_att;

	err = mshare_alloc_slots(mm, region);
	if (err)
		goto err_slots;
	/* Nothing is mapped here, and munmap() has freed what tables there were. */
	err = -EBUSY;
	if (!donation && WARN_ON_ONCE(!mshare_slots_empty(mm, region)))
		goto err_slots;

	vma_set_range(vma, region->start, region->end, 0);
	vm_flags_init(vma, flags);
	vma->vm_page_prot = vm_get_page_prot(flags);
	vma->vm_ops = &mshare_vm_ops;
	vma->vm_private_data = att;
	vma->vm_file = get_file(file);

	if (donation) {
		err = mshare_replace_vmas(vma, donation);
		if (err)
			goto err_file;
	} else {
		err = insert_vm_struct(mm, vma);
		if (err)
			goto err_file;
		mshare_publish(att);
	}
	vm_stat_account(mm, flags, len >> PAGE_SHIFT);
	perf_event_mmap(vma);
	return 0;

err_file:
	fput(file);
err_slots:
	mshare_free_empty_granules(mm, region->start, region->end);
	vm_area_free(vma);
err_att:
	mshare_attach_abort(att);
	return err;
}

/* fork(): @dst is the child's copy of the placeholder @src. */
int mshare_fork(struct vm_area_struct *dst, struct vm_area_struct *src)
{
	struct mshare_attach *parent = src->vm_private_data;
	struct mm_struct *mm = dst->vm_mm;
	struct mshare_attach *att;

	/* The parent's mm is locked for writing, so its window stays. */
	att = mshare_attach_alloc(mm, parent->region, parent->writable);
	if (IS_ERR(att))
		return PTR_ERR(att);

	if (mshare_alloc_slots(mm, att->region)) {
		mshare_attach_abort(att);
		return -ENOMEM;
	}

	dst->vm_private_data = att;
	mshare_publish(att);
	return 0;
}

/*
 * The unmap phase of a placeholder. mmap_lock is held for writing, or for
 * reading (exit, or a munmap() that has downgraded it).
 *
 * The mm stays on the region's list until no TLB holds entries of the region by
 * way of it: flushes of the host reach it until then. The flush must be a full
 * one that counts as freeing tables, as entries that point at tables go away and
 * lazy CPUs must not keep them in their paging-structure caches.
 */
void mshare_unlink_window(struct vm_area_struct *vma)
{
	struct mshare_attach *att = vma->vm_private_data;
	struct mm_struct *mm = vma->vm_mm;
	struct mshare_region *region;
	unsigned long addr, span;

	if (!att)
		return;
	region = att->region;

	spin_lock(&mm->page_table_lock);
	for (addr = region->start; addr < region->end; addr += span) {
		span = mshare_span(region, addr);
		if (span == P4D_SIZE)
			p4d_clear(mshare_p4d_offset(mm, addr));
		else
			pud_clear(mshare_pud_offset(mm, addr));
	}
	WRITE_ONCE(att->linked, false);
	hlist_del_rcu(&att->mm_node);
	spin_unlock(&mm->page_table_lock);

	flush_tlb_mm_range(mm, 0, TLB_FLUSH_ALL, 0, true);

	spin_lock(&region->lock);
	list_del_rcu(&att->region_node);
	spin_unlock(&region->lock);
	if (att->writable)
		atomic_dec(&region->nr_writers);
	atomic_dec(&region->nr_sharers);
	mshare_sharers_changed(region);
	trace_mshare_detach(region, atomic_read(&region->nr_sharers));

	vma->vm_private_data = NULL;
	queue_rcu_work(mshare_wq, &att->free);
	/* Not earlier: now no CPU can reach the region by way of this mm. */
	mshare_drop(region);
}

/**
 * mshare_detach - take the window of @region out of @mm
 * @mm: not locked
 * @region: pinned by the caller
 *
 * May sleep. Return: 0, -ENOENT if there is no such window, -EINTR, -ENOMEM.
 */
int mshare_detach(struct mm_struct *mm, struct mshare_region *region)
{
	int err = -ENOENT;

	if (mmap_write_lock_killable(mm))
		return -EINTR;

	if (mshare_mm_shares(mm, region)) {
		VMA_ITERATOR(vmi, mm, region->start);

		err = do_vmi_munmap(&vmi, mm, region->start,
				    region->end - region->start, NULL, false);
	}
	mmap_write_unlock(mm);

	return err;
}

/**
 * mshare_find_window_of - a region that @mm is a sharer of
 * @mm: need not be locked
 * @name: the name to look for, if @region is NULL
 * @region: the region to look for, or NULL
 *
 * Return: the region, which the caller must mshare_put(), or NULL.
 */
struct mshare_region *mshare_find_window_of(struct mm_struct *mm,
					    const char *name,
					    struct mshare_region *region)
{
	struct mshare_region *found = NULL;
	struct mshare_attach *att;

	rcu_read_lock();
	hlist_for_each_entry_rcu(att, &mm->mshare_attached, mm_node) {
		if (region ? att->region != region :
			     strcmp(att->region->name, name) != 0)
			continue;
		if (percpu_ref_tryget_live(&att->region->pin))
			found = att->region;
		break;
	}
	rcu_read_unlock();

	return found;
}
