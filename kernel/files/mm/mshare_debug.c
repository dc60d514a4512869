// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare's debugging aids, in /sys/kernel/debug/mshare:
 *
 * regions		one line for each region that has not been freed
 * check		checks all regions that have been created: "ok", or the first
 *			fault found
 * skip_tlb_fanout	1: flushes of a host mm reach no CPU
 * skip_table_pin	1: a host's upper tables are freed with their last VMA
 * gup_fast_ignore_ro	1: fast GUP writes through read-only windows
 * always_relax		1: drop the lock after each piece of work
 *
 * Switches that skip or ignore something break it, so that a test can show that
 * it notices. Do not use them on machines that hold data.
 */
#include <linux/debugfs.h>
#include <linux/mm.h>
#include <linux/mshare.h>
#include <linux/seq_file.h>

#include <asm/mshare.h>
#include <asm/mshare_tlb.h>

#include "internal.h"
#include "mshare.h"

bool mshare_skip_tlb_fanout;
bool mshare_skip_table_pin;
bool mshare_gup_fast_ignore_ro;
bool mshare_always_relax;

static LIST_HEAD(mshare_all);
static DEFINE_SPINLOCK(mshare_all_lock);

void mshare_debug_add(struct mshare_region *region)
{
	spin_lock(&mshare_all_lock);
	list_add_tail(&region->all, &mshare_all);
	spin_unlock(&mshare_all_lock);
}

void mshare_debug_del(struct mshare_region *region)
{
	spin_lock(&mshare_all_lock);
	list_del(&region->all);
	spin_unlock(&mshare_all_lock);
}

/*
 * Flushes of regions are numbered. When a CPU flushes an ASID, it notes the
 * number of the newest flush that has begun; see arch/x86/mm/tlb.c. Batched
 * flushes have no number.
 */
static atomic64_t mshare_seq;

u64 mshare_debug_flush_seq(void)
{
	return atomic64_read(&mshare_seq);
}

u64 mshare_debug_begin_flush(void)
{
	return atomic64_inc_return(&mshare_seq);
}

void mshare_debug_end_flush(struct mshare_region *region, u64 seq)
{
	s64 old = atomic64_read(&region->flushed);

	while (old < seq && !atomic64_try_cmpxchg(&region->flushed, &old, seq))
		;
}

/* This CPU will use its TLB entries of @mm, last flushed at @seq. */
void mshare_debug_check_seq(struct mm_struct *mm, u64 seq)
{
	struct mshare_attach *att;

	rcu_read_lock();
	hlist_for_each_entry_rcu(att, &mm->mshare_attached, mm_node)
		/* While a window is being attached, the flush comes later. */
		WARN_ONCE(smp_load_acquire(&att->linked) &&
			  atomic64_read(&att->region->flushed) > seq,
			  "mshare: an ASID is used without a flush it needs\n");
	rcu_read_unlock();
}

static int regions_show(struct seq_file *m, void *v)
{
	struct mshare_region *region;

	spin_lock(&mshare_all_lock);
	list_for_each_entry(region, &mshare_all, all)
		seq_printf(m, "%s %lx %lx %d%s%s\n", region->name,
			   region->start, region->end - region->start,
			   atomic_read(&region->nr_sharers),
			   test_bit(MSHARE_REGION_RO, &region->flags) ?
				" ro" : "",
			   test_bit(MSHARE_REGION_DYING, &region->flags) ?
				" dying" : "");
	spin_unlock(&mshare_all_lock);

	return 0;
}
DEFINE_SHOW_ATTRIBUTE(regions);

/* Check the host: VMAs, counters, tables. @region->mm is locked. */
static const char *check_host(struct mshare_region *region)
{
	struct mm_struct *host = region->mm;
	unsigned long addr, span, pages = 0;
	struct vm_area_struct *vma;
	struct vma_iterator vmi;
	int count = 0;

	if (mshare_sum_lockers(region) != host->locked_vm)
		return "its locked pages are not those that its users are charged for";
	vma_iter_init(&vmi, host, 0);
	for_each_vma(vmi, vma) {
		if (vma->vm_mm != host)
			return "a VMA of the host says it belongs elsewhere";
		if (vma->vm_start < region->start || vma->vm_end > region->end)
			return "a VMA of the host lies outside the region";
		if (!mshare_vma_ok(vma))
			return "a VMA of the host is of a kind not allowed";
		count++;
		pages += vma_pages(vma);
	}
	if (count != host->map_count)
		return "the host's map_count is wrong";
	if (pages != host->total_vm)
		return "the host's total_vm is wrong";

	for (addr = region->start; addr < region->end; addr += span) {
		span = mshare_span(region, addr);
		pgd_t *pgd = pgd_offset(host, addr);
		p4d_t *p4d;

		if (pgd_none(*pgd))
			return "the host lacks a P4D table";
		p4d = p4d_offset(pgd, addr);
		if (p4d_none(*p4d))
			return "the host lacks a PUD table";
		if (span == PUD_SIZE && pud_none(*pud_offset(p4d, addr)))
			return "the host lacks a PMD table";
	}

	return NULL;
}

static const char *check_entry(bool same, bool access, bool nx)
{
	if (!same)
		return "a sharer's entry is not the host's";
	if (!access)
		return "a sharer's entry has the wrong access";
	if (!nx)
		return "a sharer's entry has the wrong NX";

	return NULL;
}

static const char *check_p4d(struct mshare_attach *att, unsigned long addr)
{
	p4d_t theirs = *p4d_offset(pgd_offset(att->region->mm, addr), addr);
	p4d_t *entry = p4d_offset(pgd_offset(att->mm, addr), addr);
	p4d_t ours = *entry;

	if (p4d_none(ours))
		return "a sharer lacks an entry";

	return check_entry(p4d_pgtable(ours) == p4d_pgtable(theirs),
			   arch_mshare_p4d_writable(ours) == att->writable,
			   arch_mshare_p4d_nx_ok(entry, att->writable));
}

/* An entry in a PUD table that belongs to the sharer. */
static const char *check_pud(struct mshare_attach *att, unsigned long addr)
{
	p4d_t *p4d = p4d_offset(pgd_offset(att->mm, addr), addr);
	pud_t ours, theirs;

	if (p4d_none(*p4d))
		return "a sharer lacks a PUD table";
	ours = *pud_offset(p4d, addr);
	if (pud_none(ours))
		return "a sharer lacks an entry";

	p4d = p4d_offset(pgd_offset(att->region->mm, addr), addr);
	theirs = *pud_offset(p4d, addr);
	if (pud_none(theirs))
		return "the host lacks a PMD table";

	return check_entry(pud_pgtable(ours) == pud_pgtable(theirs),
			   arch_mshare_pud_writable(ours) == att->writable,
			   arch_mshare_pud_nx_ok(ours, att->writable));
}

/*
 * Check a sharer: each of its entries must point at the host's table, with the
 * access of the sharer. Under page_table_lock an attachment either has all its
 * entries or is not linked.
 */
static const char *check_attach(struct mshare_attach *att)
{
	const char *what = NULL;
	unsigned long addr, span;

	if (att->start != att->region->start || att->end != att->region->end)
		return "a window is not where its region is";

	spin_lock(&att->mm->page_table_lock);
	if (!att->linked)
		goto out;

	for (addr = att->region->start; addr < att->region->end; addr += span) {
		span = mshare_span(att->region, addr);
		what = span == P4D_SIZE ? check_p4d(att, addr) :
					  check_pud(att, addr);
		if (what)
			break;
	}
out:
	spin_unlock(&att->mm->page_table_lock);
	return what;
}

static const char *check_region(struct mshare_region *region)
{
	struct mm_struct *host = region->mm;
	struct mshare_attach *att;
	const char *what;

	/* A creator that is at work, or has failed, leaves tables missing. */
	if (!test_bit_acquire(MSHARE_REGION_READY, &region->flags))
		return NULL;

	/*
	 * The caller has pinned the region. Lock for writing, as an munmap()
	 * with a downgraded lock has removed VMAs, but not yet counted them.
	 */
	mmap_write_lock(host);
	what = test_bit(MSHARE_REGION_DYING, &region->flags) ?
		NULL : check_host(region);
	if (!what && !test_bit(MSHARE_REGION_DYING, &region->flags)) {
		spin_lock(&region->lock);
		list_for_each_entry(att, &region->sharers, region_node) {
			what = check_attach(att);
			if (what)
				break;
		}
		spin_unlock(&region->lock);
	}
	mmap_write_unlock(host);

	return what;
}

static int check_show(struct seq_file *m, void *v)
{
	struct mshare_region *region, *last = NULL;
	const char *what = NULL;

	/* Pin one region at a time. New regions are added at the tail. */
	spin_lock(&mshare_all_lock);
	list_for_each_entry(region, &mshare_all, all) {
		if (!percpu_ref_tryget_live(&region->pin))
			continue;
		spin_unlock(&mshare_all_lock);

		mshare_put(last);
		last = region;
		what = check_region(region);
		if (what) {
			seq_printf(m, "%s: %s\n", region->name, what);
			goto out;
		}

		spin_lock(&mshare_all_lock);
	}
	spin_unlock(&mshare_all_lock);
	seq_puts(m, "ok\n");
out:
	mshare_put(last);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(check);

static int __init mshare_debug_init(void)
{
	struct dentry *dir = debugfs_create_dir("mshare", NULL);

	debugfs_create_file("regions", 0400, dir, NULL, &regions_fops);
	debugfs_create_file("check", 0400, dir, NULL, &check_fops);
	debugfs_create_bool("skip_tlb_fanout", 0600, dir,
			    &mshare_skip_tlb_fanout);
	debugfs_create_bool("skip_table_pin", 0600, dir,
			    &mshare_skip_table_pin);
	debugfs_create_bool("gup_fast_ignore_ro", 0600, dir,
			    &mshare_gup_fast_ignore_ro);
	debugfs_create_bool("always_relax", 0600, dir, &mshare_always_relax);
	return 0;
}
late_initcall(mshare_debug_init);
