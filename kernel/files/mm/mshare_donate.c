// SPDX-License-Identifier: GPL-2.0-only
/*
 * Donation: move the mappings that the creator of a region has in its range
 * into the region, including their page tables.
 *
 * No PTE and no page is touched: the host's PUD tables take over the entries of
 * the donor's, and with them its PMD tables. The VMAs are new ones, as lookups
 * without mmap_lock rely on a VMA's address and on its vm_mm. What belongs to a
 * VMA (file, policy, anon_vma chain) is handed over. This happens under the rmap
 * locks of the VMA, and its pages are counted there as well. So reverse mapping
 * finds the old VMA before the hand-over and the new one after it. Both have an
 * mm whose tables hold the page, whose counters include it and whose flush
 * reaches the donor.
 */
#include <linux/khugepaged.h>
#include <linux/mm.h>
#include <linux/mm_inline.h>
#include <linux/mshare_bound.h>
#include <linux/pgalloc.h>
#include <linux/pagewalk.h>
#include <linux/pkeys.h>
#include <linux/rmap.h>
#include <linux/sched/coredump.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>
#include <linux/swap.h>
#include <linux/swapops.h>
#include <linux/userfaultfd_k.h>

#include <asm/mshare.h>
#include <asm/tlb.h>
#include <asm/tlbflush.h>

#include "internal.h"
#include "mshare.h"
#include "swap.h"
#include "vma.h"

/* What moves with one VMA. */
struct donate_count {
	long rss[NR_MM_COUNTERS];
	long pte_tables;
};

/*
 * May @vma move? It must be of a kind that a region may hold. It must not
 * depend on the process by protection keys, userfaultfd or flags for fork().
 */
static int donate_check_vma(struct mm_struct *mm, struct vm_area_struct *vma)
{
	if (vma_is_sealed(vma))
		return -EPERM;
	if (!mshare_vma_ok(vma) || userfaultfd_armed(vma) || vma_pkey(vma))
		return -EOPNOTSUPP;
	if (vma->vm_flags & (VM_DONTCOPY | VM_WIPEONFORK | VM_MERGEABLE))
		return -EOPNOTSUPP;
	/* The kernel itself expects heap and stack in the process. */
	if (vma->vm_end > mm->start_brk && vma->vm_start < mm->brk)
		return -EOPNOTSUPP;
	if (vma->vm_start <= mm->start_stack && vma->vm_end > mm->start_stack)
		return -EOPNOTSUPP;
	/* It may contain a breakpoint. */
	if (vma->vm_file && (vma->vm_flags & VM_MAYEXEC) &&
	    test_bit(MMF_HAS_UPROBES, &mm->flags))
		return -EOPNOTSUPP;

	return 0;
}

/**
 * mshare_donate_check - check the mappings that @mm has in a range
 * @mm: locked for writing
 * @start: first byte
 * @end: one behind the last
 * @donation: its number of VMAs and pages are set
 *
 * Return: 0; -EINVAL if a mapping straddles the border; -EOPNOTSUPP or -EPERM
 * if a mapping is of a kind that cannot move; -ENOMEM if there are too many.
 */
int mshare_donate_check(struct mm_struct *mm, unsigned long start,
			unsigned long end, struct mshare_donation *donation)
{
	struct vm_area_struct *vma;
	struct vma_iterator vmi;
	int err = 0;

	vma_iter_init(&vmi, mm, start);
	for_each_vma_range(vmi, vma, end) {
		/* Report this first, as the caller can avoid it. */
		if (vma->vm_start < start || vma->vm_end > end)
			return -EINVAL;
		if (!err)
			err = donate_check_vma(mm, vma);
		donation->nr++;
		donation->pages += vma_pages(vma);
	}
	if (!err && donation->nr > sysctl_max_map_count)
		err = -ENOMEM;

	return err;
}

static void donate_free_arrays(struct mshare_donation *donation)
{
	kvfree(donation->old);
	kvfree(donation->puds);
	donation->old = NULL;
	donation->puds = NULL;
}

/* Undo mshare_donate_prepare(). */
void mshare_donate_abort(struct mm_struct *host,
			 struct mshare_donation *donation)
{
	struct vm_area_struct *vma;
	struct vma_iterator vmi;

	vma_iter_init(&vmi, host, 0);
	for_each_vma(vmi, vma)
		vm_area_free(vma);
	__mt_destroy(&host->mm_mt);
	donate_free_arrays(donation);
	mshare_uncharge_locked(host, donation->locked);
	donation->locked = 0;
}

static long donate_count_pages(struct vm_area_struct *vma);

/*
 * Is there room for what will move? Counting is expensive. It is not needed if
 * even the size of the mappings, or all that the donor has, would fit.
 */
static int donate_check_limits(struct mm_struct *host, struct mm_struct *mm,
			       struct mshare_donation *donation)
{
	unsigned long shmem = 0, most = 0, pages;
	struct vm_area_struct *vma;
	struct file *last = NULL;
	int i;

	for (i = 0; i < donation->nr; i++) {
		vma = donation->old[i];
		if (!mshare_may_adopt(vma->vm_file))
			return -EPERM;
		if (vma->anon_vma)
			most += vma_pages(vma);
		/* Count an object once if mprotect() has split its VMA. */
		if (vma->vm_file && vma->vm_file != last)
			shmem += mshare_adopt_pages(vma->vm_file);
		last = vma->vm_file;
	}

	most = min(most, get_mm_counter(mm, MM_ANONPAGES) +
			 get_mm_counter(mm, MM_SWAPENTS));
	most += mm_pgtables_bytes(mm) / PAGE_SIZE;
	if (!mshare_may_grow(host, shmem + most)) {
		/* A table at either end of a VMA may be another one's as well. */
		pages = 2 * donation->nr;
		for (i = 0; i < donation->nr; i++)
			pages += donate_count_pages(donation->old[i]);
		if (!mshare_may_grow(host, shmem + pages))
			return -ENOSPC;
	}

	return 0;
}

/**
 * mshare_donate_prepare - do everything of a donation that can fail
 * @host: host of the new region, locked for writing, without VMAs
 * @mm: the donor, locked for writing, checked
 * @start: first byte
 * @end: one behind the last
 * @donation: as mshare_donate_check() left it
 *
 * Create the host's VMAs, which own nothing yet. Write-lock the old VMAs, so
 * that no fault under a per-VMA lock can add what the tables need, like an
 * anon_vma or the huge zero page, until mmap_lock is dropped. Return: 0, or an
 * error with nothing left.
 */
int mshare_donate_prepare(struct mm_struct *host, struct mm_struct *mm,
			  unsigned long start, unsigned long end,
			  struct mshare_donation *donation)
{
	struct mshare_region *region = host->mshare_host;
	struct vm_area_struct *vma, *new;
	struct vma_iterator vmi, hvmi;
	unsigned long locked = 0;
	int i = 0, err = -ENOMEM;

	donation->old = kvcalloc(donation->nr, sizeof(*donation->old),
				 GFP_KERNEL);
	donation->puds = kvcalloc(mshare_pud_slot(region, end - 1) + 1,
				  sizeof(*donation->puds), GFP_KERNEL);
	if (!donation->old || !donation->puds)
		goto err;

	vma_iter_init(&vmi, mm, start);
	vma_iter_init(&hvmi, host, start);
	for_each_vma_range(vmi, vma, end) {
		err = -EINTR;
		if (fatal_signal_pending(current))
			goto err;

		err = -ENOMEM;
		vma_start_write(vma);
		new = vm_area_dup(vma);
		if (!new)
			goto err;
		new->vm_mm = host;
		if (vma_iter_store_gfp(&hvmi, new, GFP_KERNEL)) {
			vm_area_free(new);
			goto err;
		}
		donation->old[i++] = vma;
		if (vma->vm_flags & VM_LOCKED)
			locked += vma_pages(vma);
	}

	/* The donor gets no further PMD table: no fault is under way. */
	err = mshare_alloc_host_pmds(region, mm);
	if (err)
		goto err;

	err = donate_check_limits(host, mm, donation);
	if (err)
		goto err;

	/* The donor's locked_vm decreases when the mappings move. */
	err = mshare_charge_locked(host, locked);
	if (err)
		goto err;
	donation->locked = locked;

#ifdef CONFIG_TRANSPARENT_HUGEPAGE
	/* The huge zero page is reference-counted per mm. */
	if (test_bit(MMF_HUGE_ZERO_PAGE, &mm->flags) &&
	    !mm_get_huge_zero_folio(host)) {
		err = -ENOMEM;
		goto err;
	}
#endif

	return 0;

err:
	mshare_donate_abort(host, donation);
	return err;
}

/*
 * Does anything refer to an anonymous @folio but page tables and the swap cache?
 * Not all that writes to memory pins it: O_DIRECT reads of NFS and Ceph only hold
 * references. KSM looks for them in the same way. @own: references of the caller.
 *
 * Other processes may map and unmap a folio that they share since fork(). So
 * what changes meanwhile counts as in use. That is no proof, but pins of large
 * folios are counted exactly, and small ones that are pinned are not shared.
 */
static bool donate_referenced(struct folio *folio, int own)
{
	bool cached = folio_test_swapcache(folio);
	int mapped = folio_mapcount(folio), refs;

	if (folio_maybe_dma_pinned(folio))
		return true;

	smp_rmb();	/* the references after the mappings */
	refs = folio_ref_count(folio) - own;
	smp_rmb();	/* and before the mappings once more */
	if (cached)
		refs -= folio_nr_pages(folio);

	return refs != mapped || folio_mapcount(folio) != mapped ||
	       folio_test_swapcache(folio) != cached;
}

/*
 * May something write to @folio past the page tables? Unmodified pages of a
 * private file mapping are never written to, as they would be copied first. Who
 * has a shared object can write to it anyway. Many references look like a pin,
 * so look only if the donor has ever pinned something.
 */
static bool donate_in_use(struct vm_area_struct *vma, struct folio *folio)
{
	if (folio_test_anon(folio))
		return donate_referenced(folio, 0);

	return (vma->vm_flags & VM_SHARED) &&
	       test_bit(MMF_HAS_PINNED, &vma->vm_mm->flags) &&
	       folio_maybe_dma_pinned(folio);
}

/* A page that is in use can be unmapped, but it stays in the swap cache. */
static bool donate_swap_in_use(swp_entry_t entry)
{
	struct folio *folio;
	bool in_use;

	/* A page that is being moved will soon be back. */
	if (is_migration_entry(entry))
		return true;
	if (non_swap_entry(entry))
		return false;

	folio = swap_cache_get_folio(entry, NULL, 0);
	if (!folio)
		return false;
	in_use = donate_referenced(folio, 1);
	folio_put(folio);

	return in_use;
}

static int donate_pin_pte(pte_t *pte, unsigned long addr, unsigned long next,
			  struct mm_walk *walk)
{
	pte_t entry = ptep_get(pte);
	struct page *page;

	if (pte_none(entry))
		return 0;
	if (!pte_present(entry))
		return donate_swap_in_use(pte_to_swp_entry(entry)) ? -EBUSY : 0;
	page = vm_normal_page(walk->vma, addr, entry);

	return page && donate_in_use(walk->vma, page_folio(page)) ? -EBUSY : 0;
}

static int donate_pin_pmd(pmd_t *pmd, unsigned long addr, unsigned long next,
			  struct mm_walk *walk)
{
	spinlock_t *ptl;		/* of the table */
	int err = 0;

	cond_resched();
	if (fatal_signal_pending(current))
		return -EINTR;

	ptl = pmd_lock(walk->mm, pmd);
	if (pmd_none(*pmd) || (pmd_present(*pmd) && !pmd_leaf(*pmd))) {
		spin_unlock(ptl);
		return 0;
	}
	/* If it is not present, it is being moved. */
	if (!pmd_present(*pmd) ||
	    (!is_huge_zero_pmd(*pmd) &&
	     donate_in_use(walk->vma, page_folio(pmd_page(*pmd)))))
		err = -EBUSY;
	spin_unlock(ptl);
	walk->action = ACTION_CONTINUE;

	return err;
}

static int donate_check_pins(struct mshare_donation *donation)
{
	static const struct mm_walk_ops ops = {
		.pmd_entry	= donate_pin_pmd,
		.pte_entry	= donate_pin_pte,
		.walk_lock	= PGWALK_WRLOCK,
	};
	int i, err = 0;

	for (i = 0; i < donation->nr && !err; i++)
		err = walk_page_vma(donation->old[i], &ops, NULL);

	return err;
}

/* How often to look again if a page that is to be read-only is in use. */
#define DONATE_TRIES	5

/**
 * mshare_donate_check_pins - check that nothing writes to what gets read-only
 * @mm: the donor, locked for writing, write_protect_seq as well
 * @donation: prepared
 *
 * With a pin for writing, like that of a buffer that is registered with
 * io_uring, pages can be written to without page tables. Reclaim, compaction
 * and the lists that each CPU collects for the LRU hold pages for a moment; so
 * look again a few times. May sleep. Return: 0, -EINTR, or -EBUSY if something
 * holds a page. It may be another process, or one that only reads.
 */
int mshare_donate_check_pins(struct mm_struct *mm,
			     struct mshare_donation *donation)
{
	int tries, err;

	mmap_assert_write_locked(mm);

	for (tries = 0; ; tries++) {
		err = donate_check_pins(donation);
		if (err != -EBUSY || tries == DONATE_TRIES)
			return err;
		if (fatal_signal_pending(current))
			return -EINTR;

		lru_add_drain_all();
		if (tries)
			schedule_timeout_uninterruptible(1);
	}
}

/**
 * mshare_donate_adopt - charge the shared objects of a donation
 * @host: host of the new region
 * @donation: prepared
 *
 * The last step that can fail except for lack of memory, as objects stay
 * charged. Return: 0, -ENOSPC, or -EPERM.
 */
int mshare_donate_adopt(struct mm_struct *host,
			struct mshare_donation *donation)
{
	int i, err = 0;

	for (i = 0; i < donation->nr && !err; i++)
		err = mshare_adopt(host, donation->old[i]->vm_file);

	return err;
}

static void count_pte(struct donate_count *count, struct vm_area_struct *vma,
		      unsigned long addr, pte_t pte, int kind)
{
	struct page *page;
	swp_entry_t entry;

	if (pte_none(pte))
		return;

	if (pte_present(pte)) {
		/* Zero pages are not counted. */
		if (pte_special(pte))
			return;
		if (kind >= 0) {
			count->rss[kind]++;
			return;
		}
		page = vm_normal_page(vma, addr, pte);
		if (page)
			count->rss[mm_counter(page_folio(page))]++;
		return;
	}

	entry = pte_to_swp_entry(pte);
	if (!non_swap_entry(entry))
		count->rss[MM_SWAPENTS]++;
	else if (is_migration_entry(entry) || is_device_private_entry(entry) ||
		 is_device_exclusive_entry(entry))
		count->rss[mm_counter(pfn_swap_entry_folio(entry))]++;
}

/*
 * The counter that all pages of @vma are in, or -1 if this depends on the page:
 * a private file mapping has pages of the file and anonymous pages.
 */
static int count_kind(struct vm_area_struct *vma)
{
	if (vma_is_anonymous(vma))
		return MM_ANONPAGES;
	if (vma->anon_vma)
		return -1;
	return vma_is_shmem(vma) ? MM_SHMEMPAGES : MM_FILEPAGES;
}

/* Count a huge page. An anonymous mapping has a PTE table deposited for it. */
static bool count_huge_pmd(struct donate_count *count,
			   struct vm_area_struct *vma, pmd_t *pmdp)
{
	struct folio *folio = NULL;
	spinlock_t *ptl;		/* of the table */
	pmd_t pmd;
	bool huge;

	ptl = pmd_lock(vma->vm_mm, pmdp);
	pmd = pmdp_get(pmdp);
	huge = pmd_trans_huge(pmd) || is_swap_pmd(pmd);

	if (pmd_trans_huge(pmd) && !is_huge_zero_pmd(pmd))
		folio = page_folio(pmd_page(pmd));
	else if (is_pmd_migration_entry(pmd))
		folio = pfn_swap_entry_folio(pmd_to_swp_entry(pmd));
	if (folio)
		count->rss[mm_counter(folio)] += HPAGE_PMD_NR;
	if (huge && vma_is_anonymous(vma))
		count->pte_tables++;
	spin_unlock(ptl);

	return huge;
}

/*
 * [addr, end) lies in one PMD entry and in @vma. Both mmap_locks and the VMA's
 * rmap locks are held for writing. So nothing changes these entries except the
 * CPU, which sets accessed and dirty bits, and nothing frees their table.
 */
static void count_pmd(struct donate_count *count, struct vm_area_struct *vma,
		      pmd_t *pmdp, unsigned long addr, unsigned long end,
		      int kind)
{
	pmd_t pmd = pmdp_get_lockless(pmdp);
	pte_t *pte;

	if (pmd_none(pmd))
		return;
	if ((pmd_trans_huge(pmd) || is_swap_pmd(pmd)) &&
	    count_huge_pmd(count, vma, pmdp))
		return;

	if (end - addr == PMD_SIZE)
		count->pte_tables++;
	for (pte = pte_offset_kernel(pmdp, addr); addr < end;
	     pte++, addr += PAGE_SIZE)
		count_pte(count, vma, addr, ptep_get(pte), kind);
}

/* Count what @vma maps. Its rmap locks are held. */
static void count_vma(struct donate_count *count, struct vm_area_struct *vma)
{
	unsigned long addr, next, end = vma->vm_end;
	int kind = count_kind(vma);
	pgd_t *pgd;
	p4d_t *p4d;
	pud_t *pud;

	for (addr = vma->vm_start; addr < end; addr = next) {
		pgd = pgd_offset(vma->vm_mm, addr);
		next = pud_addr_end(addr, end);
		/* A donor may have no tables here. */
		if (pgd_none(*pgd))
			continue;
		p4d = p4d_offset(pgd, addr);
		if (p4d_none(*p4d))
			continue;
		pud = pud_offset(p4d, addr);
		if (pud_none(*pud))
			continue;
		for (; addr < next; addr = pmd_addr_end(addr, next))
			count_pmd(count, vma, pmd_offset(pud, addr), addr,
				  pmd_addr_end(addr, next), kind);
		cond_resched();
	}
}

/* The anonymous pages of a donor's @vma, including those in swap. */
static long donate_count_pages(struct vm_area_struct *vma)
{
	struct address_space *mapping = NULL;
	struct donate_count count = {};

	/* As in hand_over_vma(): the locks keep the entries stable. */
	if (vma->vm_file) {
		mapping = vma->vm_file->f_mapping;
		i_mmap_lock_write(mapping);
	}
	if (vma->anon_vma)
		anon_vma_lock_write(vma->anon_vma);
	count_vma(&count, vma);
	if (vma->anon_vma)
		anon_vma_unlock_write(vma->anon_vma);
	if (mapping)
		i_mmap_unlock_write(mapping);

	return count.rss[MM_ANONPAGES] + count.rss[MM_SWAPENTS] +
	       count.pte_tables;
}

static void move_counts(struct mm_struct *host, struct mm_struct *mm,
			struct donate_count *count)
{
	int i;

	for (i = 0; i < NR_MM_COUNTERS; i++) {
		if (!count->rss[i])
			continue;
		add_mm_counter(mm, i, -count->rss[i]);
		add_mm_counter(host, i, count->rss[i]);
	}
	for (; count->pte_tables; count->pte_tables--) {
		mm_dec_nr_ptes(mm);
		mm_inc_nr_ptes(host);
	}
}

/*
 * Make reverse mapping find @new. The counts move under the same locks, as an
 * unmap by reverse mapping decreases the counters of the mm that it finds.
 */
static void hand_over_vma(struct mm_struct *host, struct mm_struct *mm,
			  struct vm_area_struct *old,
			  struct vm_area_struct *new)
{
	struct address_space *mapping = NULL;
	struct anon_vma *anon_vma = old->anon_vma;
	struct donate_count count = {};
	struct anon_vma_chain *avc;
	long pages = vma_pages(old);

	if (old->vm_file) {
		mapping = old->vm_file->f_mapping;
		i_mmap_lock_write(mapping);
	}
	if (anon_vma)
		anon_vma_lock_write(anon_vma);

	/* Reclaim may have put off a flush, which only the donor knows of. */
	flush_tlb_batched_pending(mm);

	count_vma(&count, new);
	move_counts(host, mm, &count);

	if (mapping) {
		flush_dcache_mmap_lock(mapping);
		vma_interval_tree_remove(old, &mapping->i_mmap);
		vma_interval_tree_insert(new, &mapping->i_mmap);
		flush_dcache_mmap_unlock(mapping);
	}
	list_for_each_entry(avc, &old->anon_vma_chain, same_vma)
		avc->vma = new;
	list_splice_init(&old->anon_vma_chain, &new->anon_vma_chain);

	if (anon_vma)
		anon_vma_unlock_write(anon_vma);
	if (mapping)
		i_mmap_unlock_write(mapping);

	mm->map_count--;
	host->map_count++;
	if (old->vm_flags & VM_LOCKED) {
		mm->locked_vm -= pages;
		host->locked_vm += pages;
	}
	vm_stat_account(mm, old->vm_flags, -pages);
	vm_stat_account(host, new->vm_flags, pages);
}

/*
 * Copy entries of the donor's PUD table to the host's: those of [@addr, @end),
 * which is what one entry of a sharer spans. The PMD tables are counted here, as
 * the host also has some of its own. They cannot be freed without an mmap_lock.
 */
static void copy_pud_entries(struct mm_struct *host, struct mm_struct *mm,
			     unsigned long addr, unsigned long end)
{
	p4d_t *p4d = p4d_offset(pgd_offset(mm, addr), addr);
	pud_t *from, *to;

	if (p4d_none(*p4d))
		return;

	from = pud_offset(p4d, addr);
	to = pud_offset(p4d_offset(pgd_offset(host, addr), addr), addr);
	for (; addr < end; addr += PUD_SIZE, from++, to++) {
		if (pud_none(*from))
			continue;
		set_pud(to, *from);
		mm_dec_nr_pmds(mm);
		mm_inc_nr_pmds(host);
	}
}

/*
 * Count the tables that no single VMA owns: PTE tables that are not wholly
 * covered by one VMA. They cannot be freed without an mmap_lock.
 */
static void move_other_tables(struct mm_struct *host, struct mm_struct *mm,
			      unsigned long start, unsigned long end)
{
	struct vm_area_struct *vma;
	unsigned long addr, next;
	pmd_t *pmd, pmdval;
	pud_t *pud;

	for (addr = start; addr < end; addr = next) {
		next = pud_addr_end(addr, end);
		pud = pud_offset(p4d_offset(pgd_offset(host, addr), addr),
				 addr);
		if (pud_none(*pud))
			continue;

		for (; addr < next; addr += PMD_SIZE) {
			pmd = pmd_offset(pud, addr);
			pmdval = pmdp_get_lockless(pmd);
			if (pmd_none(pmdval))
				continue;
			vma = find_vma(host, addr);
			if (vma && vma->vm_start <= addr &&
			    vma->vm_end >= addr + PMD_SIZE)
				continue;
			mm_dec_nr_ptes(mm);
			mm_inc_nr_ptes(host);
		}
		cond_resched();
	}
}

/**
 * mshare_donate_commit - move the mappings; cannot fail
 * @host: prepared
 * @mm: the donor
 * @start: first byte
 * @end: one behind the last
 * @donation: prepared
 *
 * The donor must be on the region's list of sharers already, as flushes of the
 * host must reach it from the first VMA on. Its P4D entries still point at its
 * own tables.
 */
void mshare_donate_commit(struct mm_struct *host, struct mm_struct *mm,
			  unsigned long start, unsigned long end,
			  struct mshare_donation *donation)
{
	struct vm_area_struct *new;
	struct vma_iterator hvmi;
	unsigned long addr, span;
	int i;

	/* Keep the donor's peak RSS. */
	update_hiwater_rss(mm);

	for (addr = start; addr < end; addr += span) {
		span = mshare_span(host->mshare_host, addr);
		copy_pud_entries(host, mm, addr, addr + span);
	}

	vma_iter_init(&hvmi, host, start);
	for (i = 0; i < donation->nr; i++) {
		new = vma_next(&hvmi);
		vma_start_write(new);
		hand_over_vma(host, mm, donation->old[i], new);
		vma_mark_detached(donation->old[i], true);
		cond_resched();
	}

	move_other_tables(host, mm, start, end);
	mshare_count(host->mshare_host, true);

	/*
	 * swapoff finds the mms that have swap entries by this list. Do not
	 * look at the counter: it is summed up over CPUs and may miss a few.
	 */
	spin_lock(&mmlist_lock);
	if (!list_empty(&mm->mmlist) && list_empty(&host->mmlist))
		list_add(&host->mmlist, &mm->mmlist);
	spin_unlock(&mmlist_lock);
}

static void free_pud_table(struct mmu_gather *tlb, pud_t *pud,
			   unsigned long addr)
{
	pud_free_tlb(tlb, pud, addr);
	mm_dec_nr_puds(tlb->mm);
}

/**
 * mshare_donate_finish - free the old VMAs and tables, after the window is set
 * @host: host of the new region
 * @mm: the donor
 * @start: first byte
 * @end: one behind the last
 * @donation: committed, with the donor's own PUD tables that are now unlinked
 */
void mshare_donate_finish(struct mm_struct *host, struct mm_struct *mm,
			  unsigned long start, unsigned long end,
			  struct mshare_donation *donation)
{
	struct vm_area_struct *vma;
	struct vma_iterator vmi;
	struct mmu_gather tlb;
	unsigned long i;

	/*
	 * No page has moved, but the window may be read-only, and flushes that
	 * reclaim has put off are noted in the donor.
	 */
	flush_tlb_mm_range(mm, 0, TLB_FLUSH_ALL, 0, true);

	tlb_gather_mmu(&tlb, mm);
	for (i = 0; i <= mshare_pud_slot(host->mshare_host, end - 1); i++)
		if (donation->puds[i])
			free_pud_table(&tlb, donation->puds[i],
				       (start & P4D_MASK) + i * P4D_SIZE);
	tlb_finish_mmu(&tlb);

	for (i = 0; i < donation->nr; i++)
		vm_area_free(donation->old[i]);
	donate_free_arrays(donation);

	vma_iter_init(&vmi, host, start);
	for_each_vma(vmi, vma)
		khugepaged_enter_vma(vma, vma->vm_flags);
}
