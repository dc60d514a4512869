// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare: work on a region in pieces, and its lock for others in between.
 *
 * What a sharer calls for, and what reads its files in /proc, must not keep the
 * other sharers out for a time that grows with the region. kernel/README.md of
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

/* Entries that may be passed over in a piece because they are empty. */
#define MSHARE_PIECE_EMPTY	512

/* VMAs that may be unmapped in a piece, if they are small. */
#define MSHARE_PIECE_VMAS	64

/*
 * How long who has given up the lock waits for others to take it, in
 * nanoseconds: a task that is woken needs as long until it runs.
 */
#define MSHARE_GIVE_WAY_NS	20000

/**
 * __mshare_piece_end - the end of the piece that begins at an address
 * @host: locked for reading, and the range lies in a VMA; or for writing
 * @addr: first byte
 * @end: one behind the last byte of all
 * @entries: how many filled PMD entries make a piece
 *
 * The end is that of a PMD entry, so that no huge page is split for its sake,
 * or @end. What is empty costs little and does not count, or a reserved range
 * of 512 GiB would have 262,144 pieces.
 *
 * The upper tables stay: those of a VMA are freed under the lock for writing,
 * or when it has been taken out under that lock.
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
		/* Every entry of the PMD table counts against both. */
		if (!pmd_none(pmdp_get_lockless(pmd_offset(pud, addr))) &&
		    !--entries)
			return pmd_addr_end(addr, end);
		addr = pmd_addr_end(addr, end);
	}

	return addr;
}

/*
 * Does anybody wait for the lock? A writer that spins until the owner lets go
 * is not on the list of those who wait.
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
 * mshare_give_way - let those have a host's lock who wait for it
 * @host: not locked by the caller
 *
 * Who asks for a lock again as soon as it has given it up mostly gets it: the
 * one that waits has been woken, but does not run yet, and a reader may take
 * the lock before a writer that sleeps. So wait a little, and if that was not
 * enough, sleep a little. May sleep.
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
 * mshare_relax - give up a host's lock for a moment
 * @host: locked
 * @write: how: for writing or for reading
 *
 * May sleep. Return: 0, locked in the same way as before; or -EINTR on a fatal
 * signal, and not locked.
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

/* Walks of an object's swap go by what it holds, mapped or not. */
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
 * @fn: what to call; it must not drop the lock
 * @arg: for @fn
 *
 * What changes meanwhile is seen as it is when its turn comes. May sleep.
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
 * mshare_find_again - go on with a walk for writing, after mshare_relax()
 * @vmi: set up anew
 * @host: locked for writing
 * @start: where the walk was
 * @end: one behind the last byte of all
 * @prev: set to what is before @start, or to the VMA itself if @start is within
 *
 * Return: the VMA that holds @start, which vma_find() then finds once more; or
 * NULL if there is a hole now.
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

/* As __mshare_piece_end(), for what is to be unmapped; locked for writing. */
static unsigned long mshare_unmap_end(struct mm_struct *host,
				      unsigned long start, unsigned long end)
{
	unsigned int n = MSHARE_PIECE_VMAS;
	struct vm_area_struct *vma;
	struct vma_iterator vmi;

	end = __mshare_piece_end(host, start, end, MSHARE_PIECE_ZAP);
	vma_iter_init(&vmi, host, start);
	for_each_vma_range(vmi, vma, end)
		if (!--n)
			return min(end, vma->vm_end);

	return end;
}

/* Have a VMA end at @addr, if there is one. */
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
 * A range of more than a piece goes in pieces, from below. What can fail for
 * want of memory is done before the first of them: unless others map something
 * across the end meanwhile, it fails with nothing changed or not at all. May
 * sleep.
 *
 * Return: 0 or an error; -EINTR on a fatal signal, and then a part may be gone.
 */
int mshare_munmap(struct mm_struct *host, unsigned long start, size_t len)
{
	unsigned long next, end;
	struct vma_iterator vmi;
	int err;

	len = PAGE_ALIGN(len);
	if (offset_in_page(start) || !len) {
		mmap_write_unlock(host);
		return -EINVAL;
	}
	end = start + len;

	next = mshare_unmap_end(host, start, end);
	/* All at once needs no split that could fail in the middle. */
	if (next < end && mshare_split_at(host, end))
		next = end;

	for (;;) {
		vma_iter_init(&vmi, host, start);
		err = do_vmi_munmap(&vmi, host, start, next - start, NULL,
				    true);
		if (err && next < end) {
			next = end;
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
	}
}

/* What would refuse a mapping in the place of others, when they are gone. */
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
 * @host: locked for writing; is unlocked and locked again if that is much
 * @file: what is to be mapped, or NULL
 * @addr: where, first byte
 * @len: bytes, in pages
 * @vm_flags: of the new mapping
 *
 * Leaves what is one piece or less to the caller, who replaces it in one step.
 * May sleep.
 *
 * Return: 0; an error with nothing changed; or -EINTR on a fatal signal, and
 * then a part may be gone. @host is locked in any case.
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
			/* The caller finds out the same, or does it at once. */
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
