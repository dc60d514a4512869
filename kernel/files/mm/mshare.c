// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare: regions, their host mm, and the windows in which sharers see them.
 *
 * The mappings and page tables of a region belong to a host mm that no task
 * ever runs on. A sharer has one placeholder VMA per window, and its own
 * top-level entries there point at the host's tables. Code that acts on a
 * window looks up the host and works on it, under the host's locks: vma->vm_mm
 * is always the mm whose lock is held and whose tables and counters change.
 *
 * See Documentation/mm/mshare.rst.
 */
#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/mm_inline.h>
#include <linux/mmu_notifier.h>
#include <linux/mshare_bound.h>
#include <linux/perf_event.h>
#include <linux/sched/coredump.h>
#include <linux/sched/mm.h>
#include <linux/security.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/sysctl.h>
#include <linux/userfaultfd_k.h>
#include <linux/vmstat.h>

#include <asm/mshare.h>
#include <asm/mshare_tlb.h>
#include <asm/tlb.h>
#include <asm/tlbflush.h>

#include "internal.h"
#include "mshare.h"
#include "vma.h"

#define CREATE_TRACE_POINTS
#include <trace/events/mshare.h>

DEFINE_STATIC_KEY_FALSE(mshare_key);

struct workqueue_struct *mshare_wq;

/* A host mm's lock nests inside a sharer's. */
static struct lock_class_key mshare_host_mmap_key;

static p4d_t *mshare_p4d_offset(struct mm_struct *mm, unsigned long addr)
{
	return p4d_offset(pgd_offset(mm, addr), addr);
}

static pud_t *mshare_pud_offset(struct mm_struct *mm, unsigned long addr)
{
	return pud_offset(mshare_p4d_offset(mm, addr), addr);
}

/*
 * Regions
 */

/*
 * Free the tables of all granules of a range that contain no VMA: exit_mmap()
 * goes by VMAs and would leave them. No VMA straddles the border of the range.
 * Adjacent granules must be freed in one call, as the first call that finds
 * nothing around its range frees the tables above too. A VMA outside the range
 * keeps the tables that it needs.
 */
static void mshare_free_empty_granules(struct mm_struct *mm,
				       unsigned long range_start,
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

	for_each_mshare_entry(region, addr, span) {
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

	for_each_mshare_entry(region, addr, span) {
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
	/* The new mm inherits PR_SET_THP_DISABLE, as with fork(). */
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

	/* A check of all regions waits until this one has its tables. */
	mmap_write_lock(host);
	mshare_debug_add(region);
	err = mshare_alloc_host_tables(region);
	mmap_write_unlock(host);
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

/*
 * Looking up windows. The list of attachments changes under
 * mm->page_table_lock. A detach may hold mmap_lock for reading only: hence all
 * readers use RCU.
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

struct mm_struct *__mshare_redirect(struct mm_struct *mm, unsigned long start,
				    unsigned long len, unsigned int op,
				    struct mshare_region **regionp)
{
	struct mshare_region *region = NULL;
	struct mm_struct *host = NULL;
	struct mshare_attach *att;
	unsigned long end;
	int err = 0;

	mmap_assert_locked(mm);

	*regionp = NULL;

	/* Treat an empty range as its first byte; the caller decides on it. */
	if (check_add_overflow(start, max(len, 1UL), &end))
		end = ULONG_MAX;

	rcu_read_lock();
	hlist_for_each_entry_rcu(att, &mm->mshare_attached, mm_node) {
		if (start >= att->end || end <= att->start)
			continue;
		if ((op & MSHARE_OP_DETACH) &&
		    start <= att->start && end >= att->end)
			continue;
		if (start < att->start || end > att->end)
			err = -EINVAL;
		else if ((op & MSHARE_OP_MODIFY) && !att->writable)
			err = -EACCES;
		else if (percpu_ref_tryget_live(&att->region->pin))
			region = att->region;
		break;
	}
	rcu_read_unlock();

	if (!err && !region)
		return mm;

	if (op & MSHARE_OP_READ_LOCKED)
		mmap_read_unlock(mm);
	else
		mmap_write_unlock(mm);

	if (err)
		return ERR_PTR(err);

	host = region->mm;
	if (op & MSHARE_OP_READ_LOCKED)
		err = mshare_read_lock_host(host);
	else
		err = mmap_write_lock_killable(host);
	if (err) {
		mshare_put(region);
		return ERR_PTR(-EINTR);
	}

	*regionp = region;
	return host;
}

/*
 * What may live in a region
 */

unsigned long mshare_get_unmapped_area(struct mm_struct *host,
				       unsigned long addr, unsigned long len,
				       unsigned long flags)
{
	struct mshare_region *region = host->mshare_host;
	struct ma_state mas;
	int err;

	mmap_assert_write_locked(host);

	if (flags & MAP_FIXED) {
		if (offset_in_page(addr))
			return -EINVAL;
		/* No VMA of the host marks the border of the region. */
		if (!mshare_region_holds(region, addr, len))
			return -EINVAL;
	} else {
		if (len > region->end - region->start)
			return -ENOMEM;
		mas_init(&mas, &host->mm_mt, 0);
		if (mas_empty_area_rev(&mas, region->start, region->end - 1,
				       len))
			return -ENOMEM;
		addr = mas.last + 1 - len;
	}

	err = security_mmap_addr(addr);
	return err ? err : addr;
}

/*
 * The kinds of files that a region may map. Reading a page of such a file needs
 * no help from a program or another machine. Otherwise that program could block
 * the sharers, which may not even know of the file. This lists what is allowed,
 * not what is forbidden, as new kinds of files keep coming.
 */
static bool mshare_file_ok(struct file *file)
{
	/* For overlayfs, look at the underlying file. */
	struct inode *inode = d_real_inode(file->f_path.dentry);
	struct super_block *sb = inode->i_sb;

	if (!S_ISREG(inode->i_mode) || IS_DAX(inode))
		return false;
	if (shmem_mapping(inode->i_mapping) || sb->s_magic == RAMFS_MAGIC)
		return true;

	/* On a local disk. FUSE may have one too, but a program serves it. */
	return (sb->s_type->fs_flags & FS_REQUIRES_DEV) &&
	       sb->s_magic != FUSE_SUPER_MAGIC;
}

/* What the arguments alone can tell, before anything has changed. */
int mshare_may_map(struct file *file, unsigned long flags)
{
	if (flags & (MAP_GROWSDOWN | MAP_HUGETLB))
		return -EOPNOTSUPP;
	if ((flags & MAP_TYPE) == MAP_DROPPABLE)
		return -EOPNOTSUPP;
	if (file && !mshare_file_ok(file))
		return -EOPNOTSUPP;

	return 0;
}

/*
 * To be called after ->mmap(). A driver that keeps state per VMA does not
 * expect a VMA that no process owns.
 */
bool mshare_vma_ok(struct vm_area_struct *vma)
{
	const struct vm_operations_struct *ops = vma->vm_ops;

	if (vma->vm_flags & (VM_IO | VM_PFNMAP | VM_MIXEDMAP | VM_HUGETLB |
			     VM_GROWSDOWN | VM_SHADOW_STACK | VM_DROPPABLE |
			     VM_DONTEXPAND | VM_MSHARE))
		return false;
	/* ->mmap() may have replaced the file. */
	if (!vma_is_anonymous(vma) && vma->vm_file &&
	    !mshare_file_ok(vma->vm_file))
		return false;
	if (ops && (ops->open || ops->close || ops->mremap || ops->may_split))
		return false;

	return true;
}

/*
 * The rest of mmap() for a caller that has windows. Its mmap_lock is held for
 * writing and is dropped here. The LSM has been asked.
 *
 * Only a fixed address maps into a window, a hint never does: runtimes give a
 * hint for each arena, and expect private memory.
 */
unsigned long mshare_mmap(struct file *file, unsigned long addr,
			  unsigned long len, unsigned long prot,
			  unsigned long flags, unsigned long pgoff)
{
	struct mm_struct *mm = current->mm;
	struct mshare_region *region = NULL;
	unsigned long populate, ret;
	LIST_HEAD(uf);

	if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
		mm = mshare_redirect(mm, addr & PAGE_MASK, PAGE_ALIGN(len),
				     MSHARE_OP_MODIFY, &region);
		if (IS_ERR(mm))
			return PTR_ERR(mm);
	}

	ret = do_mmap_mm(mm, file, addr, len, prot, flags, 0, pgoff, &populate,
			 &uf);
	mmap_write_unlock(mm);
	userfaultfd_unmap_complete(mm, &uf);
	if (populate)
		populate_mm_range(mm, ret, populate, 1);
	mshare_put(region);

	return ret;
}

/*
 * Windows
 */

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

	for_each_mshare_entry(region, addr, span) {
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

	for_each_mshare_entry(region, addr, span) {
		if (span == P4D_SIZE ? !p4d_none(*mshare_p4d_offset(mm, addr)) :
				       !pud_none(*mshare_pud_offset(mm, addr)))
			return false;
	}

	return true;
}

/* Wake those that poll the region's file, but not too often. */
static void mshare_sharers_changed(struct mshare_region *region)
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

/* Does @mm have a window of @region, or is it about to? */
static bool mshare_mm_shares(struct mm_struct *mm, struct mshare_region *region)
{
	struct mshare_attach *att;
	bool shares = false;

	rcu_read_lock();
	hlist_for_each_entry_rcu(att, &mm->mshare_attached, mm_node) {
		if (att->region == region) {
			shares = true;
			break;
		}
	}
	rcu_read_unlock();

	return shares;
}

/*
 * The CPUs whose TLBs may hold entries of a region. A CPU sets its bit before
 * it runs a sharer, and clears it when it has flushed everything and runs none.
 * No other CPU writes this bit. The CPU keeps interrupts off for the write and
 * for what the bit stands for.
 */
static void mshare_enter_cpu(struct mshare_region *region)
{
	int cpu = smp_processor_id();

	if (!cpumask_test_cpu(cpu, &region->cpus))
		cpumask_set_cpu(cpu, &region->cpus);
}

/* This CPU is about to load @mm: the load orders the bits before all walks. */
void __mshare_switch_in(struct mm_struct *mm)
{
	struct mshare_attach *att;

	rcu_read_lock();
	hlist_for_each_entry_rcu(att, &mm->mshare_attached, mm_node)
		mshare_enter_cpu(att->region);
	rcu_read_unlock();
}

/* On each CPU that may have loaded an mm that becomes a sharer. */
static void mshare_enter_loaded(void *info)
{
	struct mshare_attach *att = info;

	if (arch_mshare_loaded_mm() == att->mm) {
		mshare_enter_cpu(att->region);
		arch_mshare_note_loaded();
	}
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

	/* The mm's list before its cpumask; pairs with switch_mm_irqs_off(). */
	smp_mb();
	on_each_cpu_mask(mm_cpumask(mm), mshare_enter_loaded, att, true);
	/*
	 * A CPU that does not have the mm loaded, or is about to load another,
	 * got no IPI. It may have entries of a donor in another PCID, or may
	 * still get some by speculation. Raise the mm's generation, after its
	 * cpumask has been read: such a CPU flushes when it switches to the mm
	 * again.
	 */
	flush_tlb_mm(mm);

	/* Order the lists and the CPUs before the entries; see above. */
	smp_mb();
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
	for_each_mshare_entry(att->region, addr, span) {
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
	if (!donation && !mshare_slots_empty(mm, region)) {
		/* A failed mremap() may have left tables. */
		mshare_free_empty_granules(mm, region->start, region->end);
		err = mshare_alloc_slots(mm, region);
		if (err)
			goto err_slots;
		err = -EBUSY;
		if (WARN_ON_ONCE(!mshare_slots_empty(mm, region)))
			goto err_slots;
	}

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
	for_each_mshare_entry(region, addr, span) {
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

/*
 * TLB
 */

int mshare_nr_sharers(struct mm_struct *host)
{
	return atomic_read(&host->mshare_host->nr_sharers);
}

int mshare_nr_cpus(struct mshare_region *region)
{
	return cpumask_weight(&region->cpus);
}

struct mshare_flush {
	struct mshare_region *region;	/* NULL: several regions */
	unsigned long start, end;	/* end == TLB_FLUSH_ALL: everything */
	unsigned int stride_shift;
	int cpu;			/* that asked for the flush */
};

/*
 * Check whether the loaded mm shares the region before the flush: if it does
 * not any more, its entries have been cleared and cannot come back. A CPU must
 * flush everything before it leaves the region's mask.
 */
static void mshare_flush_cpu(void *info)
{
	const struct mshare_flush *flush = info;
	struct mshare_region *region = flush->region;
	struct mm_struct *loaded = arch_mshare_loaded_mm();
	int cpu = smp_processor_id();
	bool leaves = region && !mshare_mm_shares(loaded, region);

	arch_mshare_flush_local(flush->start,
				leaves ? TLB_FLUSH_ALL : flush->end,
				flush->stride_shift, cpu != flush->cpu);
	if (leaves && cpumask_test_cpu(cpu, &region->cpus))
		cpumask_clear_cpu(cpu, &region->cpus);
}

static void mshare_flush_cpus(const struct cpumask *cpus,
			      struct mshare_flush *flush)
{
	count_vm_tlb_event(NR_TLB_REMOTE_FLUSH);
	flush->cpu = get_cpu();
	on_each_cpu_mask(cpus, mshare_flush_cpu, flush, true);
	put_cpu();
}

/**
 * mshare_batch_add - reclaim has changed PTEs of @host and will flush later
 * @host: need not be locked
 * @cpus: CPUs of the batch, to which those of the region are added
 * @region: the region of the batch, pinned by it: that of @host, or NULL if the
 *	batch has pages of several regions
 * @first: this is the first host in the batch
 */
void mshare_batch_add(struct mm_struct *host, struct cpumask *cpus,
		      struct mshare_region **region, bool first)
{
	struct mshare_region *new = host->mshare_host;

	if (first) {
		/* A region that is being freed has no sharers. */
		*region = percpu_ref_tryget_live(&new->pin) ? new : NULL;
	} else if (*region != new) {
		mshare_put(*region);
		*region = NULL;
	}

	/* Order the changed PTEs before the CPUs, as in mshare_flush_tlb(). */
	smp_mb();
	cpumask_or(cpus, cpus, &new->cpus);
}

/**
 * mshare_batch_flush - flush what mshare_batch_add() has put off
 * @cpus: CPUs of the batch
 * @region: the region of the batch, or NULL; its pin is dropped
 *
 * Return: false if flushes are skipped on purpose; see mshare_debug.c.
 */
bool mshare_batch_flush(const struct cpumask *cpus,
			struct mshare_region *region)
{
	struct mshare_flush flush = { .region = region, .end = TLB_FLUSH_ALL };

	if (!mshare_skip_tlb_fanout)
		mshare_flush_cpus(cpus, &flush);
	mshare_put(region);

	return !mshare_skip_tlb_fanout;
}

void mshare_flush_tlb(struct mm_struct *host, unsigned long start,
		      unsigned long end, unsigned int stride_shift,
		      bool freed_tables)
{
	struct mshare_region *region = host->mshare_host;
	struct mshare_attach *att;
	u64 seq;
	int nr;

	if (mshare_skip_tlb_fanout)
		return;

	seq = mshare_debug_begin_flush();
	/* Order the PTEs before the CPUs; pairs with mshare_publish_flush(). */
	smp_mb();

	nr = atomic_read(&region->nr_sharers);
	if (!nr)
		return;
	trace_mshare_flush(region, start, end, freed_tables, nr);
	if (nr > 1) {
		struct mshare_flush flush = {
			.region = region,
			.start = start,
			.end = end,
			.stride_shift = stride_shift,
		};

		mshare_flush_cpus(&region->cpus, &flush);
		mshare_debug_end_flush(region, seq);
		return;
	}

	/*
	 * A single sharer's own flush is limited to the range. A second sharer
	 * that appears now sets its entries after our PTEs have changed.
	 */
	rcu_read_lock();
	att = list_first_or_null_rcu(&region->sharers, struct mshare_attach,
				     region_node);
	if (att)
		flush_tlb_mm_range(att->mm, start, end, stride_shift,
				   freed_tables);
	rcu_read_unlock();
	mshare_debug_end_flush(region, seq);
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
