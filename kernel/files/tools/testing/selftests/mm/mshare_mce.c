// SPDX-License-Identifier: GPL-2.0-only
/*
 * mshare: a machine check for a process that loads from a window.  It is
 * simulated, and only if MSHARE_MCE is set: on many CPUs the kernel stops.
 */
#include "mshare_hazard.h"

#include <asm/mce.h>

#define MCELOG "/dev/mcelog"

/*
 * Bits as in the kernel's own header: an error in data that a process loaded.
 */
#define MCG_STATUS_RECOVERABLE 7	/* RIPV, EIPV, MCIP */
#define MCI_STATUS_LOADED 0xbd80000000000134
#define MCI_MISC_PAGE 0x8c		/* a physical address, to 12 bits */
#define INJECT_EXCEPTION 0x9		/* in the context of the caller */

static ssize_t tell(int fd, const struct mce *m, const char *again)
{
	ssize_t n = write(fd, m, sizeof(*m));

	if (n > 0 && again)
		(void)READ_ONCE(*again);
	return n;
}

/*
 * Report a machine check for frame a on CPU b to the caller, as if it had
 * loaded from there. If c is not 0, repeat the load from c afterwards.  Return:
 * the signal that the caller gets.
 */
PEER_FN(pf_machine_check)
{
	struct mce m = {
		.status = MCI_STATUS_LOADED,
		.misc = MCI_MISC_PAGE,
		.addr = a * PAGE,
		.mcgstatus = MCG_STATUS_RECOVERABLE,
		.cs = 0x33,		/* of user mode */
		.bank = 1,
		.inject_flags = INJECT_EXCEPTION,
		.extcpu = b,
	};
	int fd = open(MCELOG, O_RDWR | O_CLOEXEC), sig;
	ssize_t done = -1;

	PEER_UNUSED();
	if (fd < 0)
		return -errno;
	sig = PROBE(done = tell(fd, &m, (char *)c));
	close(fd);
	return done < 0 && !sig ? -EIO : sig;
}

/*
 * A process that loads from a bad frame gets a signal with the address in its
 * window: the page is taken away, and the load is repeated.  If the frame is
 * already known to be bad, nothing is taken away, and the signal is sent at
 * once.
 */
TEST_F(mshare, machine_check_in_a_sharer)
{
	struct two_views v = { -1, NULL };
	char *at = self->addr;
	struct peer p, other;
	long frame, i;
	int cpu[2];

	if (!getenv("MSHARE_MCE"))
		SKIP(return, "MSHARE_MCE is not set");
	if (access(MCELOG, W_OK))
		SKIP(return, "no " MCELOG);
	if (!two_cpus(cpu))
		SKIP(return, "needs two CPUs");
	ASSERT_EQ(0, peer_start(&other));
	MAKE_SHARED();
	ATTACH_PEER(&other, O_RDONLY);
	ASSERT_EQ(0, peer_call(&p, pf_pin_to, cpu[0]));
	ASSERT_EQ(0, peer_call(&other, pf_pin_to, cpu[1]));
	ASSERT_EQ(0, two_views(&v, at, 4 * PAGE));
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, probe_store(v.own + i * PAGE, i + 1));
		ASSERT_EQ(i + 1, peer_see(&p, at + i * PAGE));
	}
	frame = frame_of(v.own + PAGE);
	ASSERT_LT(0, frame);

	EXPECT_EQ(SIGBUS, peer_call(&p, pf_machine_check, frame, cpu[0],
				    (long)at + PAGE));
	EXPECT_EQ(BUS_MCEERR_AR, p.fault.code);
	EXPECT_EQ((void *)(at + PAGE), p.fault.addr);
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(SIGBUS, peer_call(&p, pf_machine_check, frame,
					    cpu[0], 0L));
		EXPECT_EQ(BUS_MCEERR_AR, p.fault.code);
		EXPECT_EQ((void *)(at + PAGE), p.fault.addr);
	}
	EXPECT_EQ(SIGBUS, peer_call(&other, pf_machine_check, frame, cpu[1],
				    0L));
	EXPECT_EQ((void *)(at + PAGE), other.fault.addr);
	/* A process that looks at this page and at nothing else. */
	EXPECT_EQ(SIGBUS, probe_byte(at + PAGE));
	EXPECT_EQ(BUS_MCEERR_AR, last_fault.code);
	EXPECT_EQ(SIGBUS, probe_byte(v.own + PAGE));
	EXPECT_EQ(1, load(at));
	EXPECT_EQ(3, peer_see(&p, at + 2 * PAGE));
	EXPECT_EQ(3, peer_see(&other, at + 2 * PAGE));
	EXPECT_EQ(0, debug_check());
	/* The frame stays bad: the kernel maps it nowhere any more. */
	munmap(v.own, 4 * PAGE);
	close(v.fd);
	EXPECT_EQ(0, peer_stop(&other));
	EXPECT_EQ(0, peer_stop(&p));
}

int main(int argc, char **argv)
{
	return mshare_main(argc, argv);
}
