/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The names of the broker's own errors: see org.mshare1(5). */
#define ERROR_NO_SUCH_REGION "org.mshare1.Error.NoSuchRegion"
#define ERROR_REGION_EXISTS "org.mshare1.Error.RegionExists"
#define ERROR_REGION_BUSY "org.mshare1.Error.RegionBusy"
#define ERROR_REGION_NOT_READY "org.mshare1.Error.RegionNotReady"
#define ERROR_INVALID_NAME "org.mshare1.Error.InvalidName"
#define ERROR_INVALID_SIZE "org.mshare1.Error.InvalidSize"
#define ERROR_ADDRESS_IN_USE "org.mshare1.Error.AddressInUse"
#define ERROR_NO_ADDRESS_SPACE "org.mshare1.Error.NoAddressSpace"
#define ERROR_KERNEL_UNSUPPORTED "org.mshare1.Error.KernelUnsupported"
#define ERROR_LIMIT_EXCEEDED "org.mshare1.Error.LimitExceeded"
