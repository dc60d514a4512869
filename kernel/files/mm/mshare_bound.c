// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare: work on a region in pieces, and let others take its lock in between.
 *
 * System calls of a sharer, and reads of its files in /proc, must not lock out
 * the other sharers for a time that grows with the region. kernel/README.md of
 * the project lists every such path with its bound.
 */
#include <linux/delay.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/mshare_bound.h>
#include <linux/sched/clock.h>
#include <linux/sched/signal.h>
#include <linux/security.h>
#include <linux/shmem_fs.h>

#include "internal.h"
#include "mshare.h"
#include "vma.h"

/* Empty entries that a piece may skip. */
#define MSHARE_PIECE_EMPTY	512

/* VMAs that may be unmapped in a piece. */
#define MSHARE_PIECE_VMAS	64

/*
 * How long to wait for others to take the lock that was dropped, in
 * nanoseconds. A task needs about as long from its wake-up until it runs.
 */
#define MSHARE_GIVE_WAY_NS	20000

/**
 * __mshare_piece_end - the end of the piece that begins at an address
 * @host: locked for reading, if the range lies in a VMA, or for writing
 * @addr: first byte
 * @end: one behind the last byte of the whole range
 * @entries: how many filled PMD entries make a piece
 *
 * A piece ends at @end or at the end of a PMD entry, so that it splits no huge
 * page. Empty entries cost little and do not count. Otherwise a reserved range
 * of 512 GiB would have 262,144 pieces.
 *
 * The upper tables cannot go away: the tables of a VMA are freed with the lock
 * held for writing, or after the VMA has been removed with that lock held.
 *
 * Return: more than @addr, at most @end.
 */
unsigned long __mshare_piece_end(struct mm_struct *host, unsigned long addr,
				 unsigned long end, unsigned int entries)
{
	unsigned int empty = MSHARE_PIECE_EMPTY;
	p4d_t *p4d;
	pud_t *pud;

	mmap_assert_locked(host);

	while (addr < end && empty--) {
		p4d = p4d_offset(pgd_offset(host, addr), addr);
		if (p4d_none(READ_ONCE(*p4d))) {
			addr = p4d_addr_end(addr, end);
			continue;
		}
		pud = pud_offset(p4d, addr);
		if (pud_none(READ_ONCE(*pud))) {
			addr = pud_addr_end(addr, end);
			continue;
		}
		/* A filled entry of a PMD table counts against both limits. */
		if (!pmd_none(pmdp_get_lockless(pmd_offset(pud, addr))) &&
		    !--entries)
			return pmd_addr_end(addr, end);
		addr = pmd_addr_end(addr, end);
	}

	return addr;
}

/*
 * Does a task wait for the lock? A writer that spins is not on the lock's list
 * of waiters.
 */
static bool mshare_contended(struct mm_struct *host)
{
	if (mmap_lock_is_contended(host))
		return true;
#if defined(CONFIG_RWSEM_SPIN_ON_OWNER) && !defined(CONFIG_PREEMPT_RT)
	if (osq_is_locked(&host->mmap_lock.osq))
		return true;
#endif
	return false;
}

bool __mshare_wanted(struct mm_struct *host)
{
	return mshare_contended(host) || need_resched() || mshare_always_relax;
}

/**
 * mshare_give_way - let waiting tasks take the lock of a host
 * @host: not locked by the caller
 *
 * A task that drops a lock and takes it again at once mostly gets it: the
 * waiter has been woken, but does not run yet, and a reader may overtake a
 * sleeping writer. So wait a little, and if that was not enough, sleep a
 * little. May sleep.
 */
void mshare_give_way(struct mm_struct *host)
{
	u64 end;

	cond_resched();
	if (!mshare_contended(host))
		return;

	end = local_clock() + MSHARE_GIVE_WAY_NS;
	do {
		cpu_relax();
		cond_resched();
		if (!mshare_contended(host))
			return;
	} while (local_clock() < end);

	usleep_range(MSHARE_GIVE_WAY_NS / 1000, MSHARE_GIVE_WAY_NS / 500);
}

/* Return: 0 or -EINTR. May sleep. */
int mshare_read_lock_host(struct mm_struct *host)
{
	mshare_give_way(host);
	return mmap_read_lock_killable(host);
}

/**
 * mshare_relax - drop a host's lock for a moment
 * @host: locked
 * @write: locked for writing, not for reading
 *
 * May sleep. Return: 0 with the lock held as before, or -EINTR on a fatal
 * signal with the lock not held.
 */
int mshare_relax(struct mm_struct *host, bool write)
{
	if (write)
		mmap_write_unlock(host);
	else
		mmap_read_unlock(host);

	mshare_give_way(host);
	if (fatal_signal_pending(current))
		return -EINTR;

	return write ? mmap_write_lock_killable(host) :
		       mmap_read_lock_killable(host);
}

/* A walk of an object's swap costs by what it holds, mapped or not. */
static bool mshare_walk_is_dense(struct vm_area_struct *vma)
{
	return vma->vm_file && shmem_mapping(vma->vm_file->f_mapping) &&
	       READ_ONCE(SHMEM_I(file_inode(vma->vm_file))->swapped);
}

/**
 * mshare_walk_pieces - call a function for each piece of each VMA in a range
 * @host: not locked
 * @start: first byte
 * @end: one behind the last
 * @fn: the function; it must not drop the lock
 * @arg: for @fn
 *
 * The range may change during the walk. Each piece is seen as it is when the
 * walk reaches it. May sleep.
 *
 * Return: 0; -EINTR on a fatal signal; or what @fn has returned, if not 0.
 */
int mshare_walk_pieces(struct mm_struct *host, unsigned long start,
		       unsigned long end, mshare_piece_fn fn, void *arg)
{
	struct vm_area_struct *vma;
	unsigned long next;
	int ret;

	if (mshare_read_lock_host(host))
		return -EINTR;

	ret = 0;
	while ((vma = find_vma(host, start)) && vma->vm_start < end) {
		start = max(start, vma->vm_start);
		next = min(end, vma->vm_end);
		if (mshare_walk_is_dense(vma))
			next = min(next, ALIGN(start + 1, PMD_SIZE));
		else
			next = __mshare_piece_end(host, start, next,
						  MSHARE_PIECE_WALK);
		ret = fn(vma, start, next, arg);
		if (ret)
			break;
		start = next;
		if (start < end && __mshare_wanted(host) &&
		    mshare_relax(host, false))
			return -EINTR;
	}
	mmap_read_unlock(host);

	return ret;
}

/**
 * mshare_find_again - continue a walk for writing, after mshare_relax()
 * @vmi: initialized here
 * @host: locked for writing
 * @start: where to continue
 * @end: one behind the last byte of the whole range
 * @prev: set to the VMA before @start, or to the VMA that @start is in the middle
 *	of
 *
 * Return: the VMA that holds @start, which vma_find() will find again; or NULL
 * if there is a hole now.
 */
struct vm_area_struct *mshare_find_again(struct vma_iterator *vmi,
					 struct mm_struct *host,
					 unsigned long start,
					 unsigned long end,
					 struct vm_area_struct **prev)
{
	struct vm_area_struct *vma;

	vma_iter_init(vmi, host, start);
	vma = vma_find(vmi, end);
	if (!vma || vma->vm_start > start)
		return NULL;

	*prev = vma_prev(vmi);
	if (start > vma->vm_start)
		*prev = vma;
	return vma;
}

/* The end of a range's last VMA that may be unmapped in a piece. */
static unsigned long mshare_last_vma_end(struct mm_struct *host,
					 unsigned long start,
					 unsigned long end)
{
	VMA_ITERATOR(vmi, host, start);
	unsigned int n = MSHARE_PIECE_VMAS;
	struct vm_area_struct *vma;

	for_each_vma_range(vmi, vma, end)
		if (!--n)
			return min(end, vma->vm_end);

	return end;
}

/* Like __mshare_piece_end(), for unmapping. @host is locked for writing. */
static unsigned long mshare_unmap_end(struct mm_struct *host,
				      unsigned long start, unsigned long end)
{
	end = mshare_piece_end(host, start, end, MSHARE_PIECE_ZAP);
	/* So few pages cannot be in more VMAs. */
	if (end - start <= MSHARE_PIECE_VMAS * PAGE_SIZE)
		return end;

	return mshare_last_vma_end(host, start, end);
}

/* If @addr is in the middle of a VMA, split the VMA there. */
static int mshare_split_at(struct mm_struct *host, unsigned long addr)
{
	struct vm_area_struct *vma = find_vma(host, addr);
	struct vma_iterator vmi;

	if (!vma || vma->vm_start >= addr)
		return 0;
	vma_iter_init(&vmi, host, addr);
	return split_vma(&vmi, vma, addr, 1);
}

/**
 * mshare_munmap - unmap a range of a region
 * @host: locked for writing; unlocked on return
 * @start: first byte
 * @len: bytes, rounded up to pages
 *
 * A large range is unmapped in pieces, in ascending order. What can fail for
 * lack of memory is done first: unless others map something across the end
 * meanwhile, an error means that nothing has changed. May sleep.
 *
 * Return: 0 or an error; -EINTR on a fatal signal, in which case a part may
 * have been unmapped.
 */
int mshare_munmap(struct mm_struct *host, unsigned long start, size_t len)
{
	VMA_ITERATOR(vmi, host, start);
	unsigned long next, end;
	int err;

	len = PAGE_ALIGN(len);
	if (offset_in_page(start) || !len) {
		mmap_write_unlock(host);
		return -EINVAL;
	}
	end = start + len;

	next = mshare_unmap_end(host, start, end);
	/* If that fails, unmap all at once, which needs no further splits. */
	if (next < end && mshare_split_at(host, end))
		next = end;

	for (;;) {
		err = do_vmi_munmap(&vmi, host, start, next - start, NULL,
				    true);
		if (err && next < end) {
			next = end;
			vma_iter_init(&vmi, host, start);
			continue;
		}
		if (err) {
			mmap_write_unlock(host);
			return err;
		}

		start = next;
		if (start == end)
			return 0;
		mshare_give_way(host);
		if (fatal_signal_pending(current) ||
		    mmap_write_lock_killable(host))
			return -EINTR;
		next = mshare_unmap_end(host, start, end);
		vma_iter_init(&vmi, host, start);
	}
}

/* Check in advance what could refuse the new mapping after the unmapping. */
static int mshare_may_make_room(struct mm_struct *host, struct file *file,
				unsigned long start, unsigned long end,
				vm_flags_t vm_flags)
{
	unsigned long mapped = 0, accounted = 0, pages;
	long charge = 0;
	struct vm_area_struct *vma;
	struct vma_iterator vmi;

	vma_iter_init(&vmi, host, start);
	for_each_vma_range(vmi, vma, end) {
		pages = (min(vma->vm_end, end) - max(vma->vm_start, start)) >>
			PAGE_SHIFT;
		mapped += pages;
		if (vma->vm_flags & VM_ACCOUNT)
			accounted += pages;
	}

	pages = (end - start) >> PAGE_SHIFT;
	if (!may_expand_vm(host, vm_flags, pages - mapped))
		return -ENOMEM;
	if (mshare_may_map(file, 0))
		return -EOPNOTSUPP;

	if ((vm_flags & (VM_NORESERVE | VM_SHARED | VM_WRITE)) == VM_WRITE &&
	    pages > accounted)
		charge = pages - accounted;
	if (charge && security_vm_enough_memory_mm(host, charge))
		return -ENOMEM;
	vm_unacct_memory(charge);

	return 0;
}

/**
 * mshare_make_room - unmap in pieces what is in the way of a mapping
 * @host: locked for writing; unlocked and locked again between pieces
 * @file: the file to be mapped, or NULL
 * @addr: first byte
 * @len: bytes, a multiple of the page size
 * @vm_flags: of the new mapping
 *
 * Leaves the last piece to the caller, which replaces it in one step. May
 * sleep.
 *
 * Return: 0; an error with nothing changed; or -EINTR on a fatal signal, in
 * which case a part may have been unmapped. @host is locked in any case.
 */
int mshare_make_room(struct mm_struct *host, struct file *file,
		     unsigned long addr, unsigned long len,
		     vm_flags_t vm_flags)
{
	unsigned long next, start = addr, end = addr + len;
	struct vma_iterator vmi;
	int err;

	for (;;) {
		next = mshare_unmap_end(host, start, end);
		if (next == end || !find_vma_intersection(host, next, end))
			return 0;

		if (start == addr) {
			err = mshare_may_make_room(host, file, addr, end,
						   vm_flags);
			if (err)
				return err;
			/* Let the caller fail, or replace all in one step. */
			if (mshare_split_at(host, end))
				return 0;
		}

		vma_iter_init(&vmi, host, start);
		if (do_vmi_munmap(&vmi, host, start, next - start, NULL, true))
			return 0;
		start = next;

		mshare_give_way(host);
		mmap_write_lock(host);
		if (fatal_signal_pending(current))
			return -EINTR;
	}
}
