/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The broker's names on the system bus: see org.mshare1(5). */
#define BUS_NAME "org.mshare1"
#define BUS_PATH "/org/mshare1"
#define BUS_REGION_PATH "/org/mshare1/region"
#define BUS_MANAGER_INTERFACE "org.mshare1.Manager"
#define BUS_REGION_INTERFACE "org.mshare1.Region"

/* What a kernel must be, for messages about one that is not. */
#define KERNEL_RULE "expected Linux 6.12 with the mshare patch and CONFIG_MSHARE=y"

/* Where msharefs is mounted: msharefs(5). */
#define MSHAREFS_PATH "/sys/fs/mshare"
/* Its type, as in statfs(2). */
#define MSHAREFS_MAGIC 0x6d736872
