// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare: flushes. What changes in a host's page tables may be in the TLB of each
 * CPU that has run a sharer. This knows these CPUs and reaches them.
 */
#include <linux/cpumask.h>
#include <linux/mm.h>
#include <linux/smp.h>
#include <linux/vmstat.h>
#include <trace/events/mshare.h>

#include <asm/mshare.h>
#include <asm/mshare_tlb.h>
#include <asm/tlbflush.h>

#include "mshare.h"

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

/**
 * mshare_enter_cpus - make the CPUs that may hold entries of a window known
 * @att: already on the lists of its mm and its region, its entries not yet set
 *
 * Waits for other CPUs. After it, flushes of the host reach each CPU that can
 * walk through the entries.
 */
void mshare_enter_cpus(struct mshare_attach *att)
{
	struct mm_struct *mm = att->mm;

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

	/* Order the lists and the CPUs before the entries; see mshare_flush_tlb(). */
	smp_mb();
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
	int cpu = get_cpu();

	flush->cpu = cpu;
	if (cpumask_any_but(cpus, cpu) < nr_cpu_ids) {
		count_vm_tlb_event(NR_TLB_REMOTE_FLUSH);
		on_each_cpu_mask(cpus, mshare_flush_cpu, flush, true);
	} else if (cpumask_test_cpu(cpu, cpus)) {
		/* No other CPU: as flush_tlb_mm_range() does for a process. */
		lockdep_assert_irqs_enabled();
		local_irq_disable();
		mshare_flush_cpu(flush);
		local_irq_enable();
	}
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
	/* Order the PTEs before the CPUs; pairs with mshare_enter_cpus(). */
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
