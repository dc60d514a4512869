// SPDX-License-Identifier: GPL-2.0-only
/*
 * NUMA: policies and pages of a region belong to the host.
 *
 * The policy of a host's VMA, or of the object that it maps, applies to faults
 * of all sharers. Without one, the policy of the faulting task applies. System
 * calls that set or query policies go to the host by mshare_redirect(). Those
 * that look at single pages find the host's VMA here, with the sharer's lock
 * held.
 */
#include <linux/mm.h>
#include <linux/mshare.h>
#include <linux/mshare_bound.h>
#include <linux/sched/signal.h>

#include "mshare.h"

/**
 * mshare_page_vma - the VMA that really maps a page
 * @window: any VMA of a process, whose mmap_lock the caller holds
 * @addr: an address in @window
 * @modify: the page will be moved
 *
 * Return: @window itself if it is no window; otherwise the host's VMA, with the
 * host's lock held until mshare_page_vma_done(); NULL if nothing is mapped at
 * the address; -EACCES if the process may only read the region, or -EINTR.
 */
struct vm_area_struct *__mshare_page_vma(struct vm_area_struct *window,
					 unsigned long addr, bool modify)
{
	struct mm_struct *host = mshare_vma_host(window);
	struct vm_area_struct *vma;

	if (!host)
		return NULL;
	if (modify && !mshare_vma_writable(window))
		return ERR_PTR(-EACCES);
	if (mmap_read_lock_killable(host))
		return ERR_PTR(-EINTR);

	vma = vma_lookup(host, addr);
	if (!vma)
		mmap_read_unlock(host);

	return vma;
}

/**
 * mshare_for_pieces - walk the VMAs of a window piece by piece
 * @window: of a process whose mmap_lock the caller holds
 * @fn: called with the host's lock held for reading, for [start, end) of a VMA
 * @arg: for @fn
 *
 * The host's lock is dropped between pieces if others wait for it, so that the
 * time it is held does not grow with the region. Changes made meanwhile may be
 * missed. Return: 0, or -EINTR.
 */
int mshare_for_pieces(struct vm_area_struct *window,
		      void (*fn)(struct vm_area_struct *vma,
				 unsigned long start, unsigned long end,
				 void *arg), void *arg)
{
	struct mm_struct *host = mshare_vma_host(window);
	unsigned long addr = window->vm_start, end;
	struct vm_area_struct *vma;

	if (!host)
		return 0;
	if (mmap_read_lock_killable(host))
		return -EINTR;

	while ((vma = find_vma(host, addr)) && vma->vm_start < window->vm_end) {
		addr = max(addr, vma->vm_start);
		end = __mshare_piece_end(host, addr, vma->vm_end,
					 MSHARE_NUMA_PIECE / PMD_SIZE);
		fn(vma, addr, end, arg);
		addr = end;

		/* The lock alone does not notice a signal if it is free. */
		if (fatal_signal_pending(current)) {
			mmap_read_unlock(host);
			return -EINTR;
		}
		if (!mmap_lock_is_contended(host) && !need_resched())
			continue;
		mmap_read_unlock(host);
		cond_resched();
		if (mmap_read_lock_killable(host))
			return -EINTR;
	}
	mmap_read_unlock(host);

	return 0;
}
