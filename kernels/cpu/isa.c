/* kernels/cpu/isa.c - which instructions this process may use. */
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

/* CPUID leaf 7, EDX: bit 22 AMX-BF16, bit 24 AMX-TILE. */
static bool has_amx(void)
{
    unsigned eax = 7, ebx, ecx = 0, edx;
    __asm__("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    return has_avx512() && (edx >> 22 & 1U) != 0 && (edx >> 24 & 1U) != 0;
}

static enum cask_isa isa_of_cpu(void)
{
    __builtin_cpu_init();
    return has_amx()      ? CASK_ISA_AMX
           : has_avx512() ? CASK_ISA_AVX512
           : has_avx2()   ? CASK_ISA_AVX2
                          : CASK_ISA_SCALAR;
}

/* The index is the level's enum cask_isa. */
static const char *const level_names[] = {"ref", "avx2", "avx512", "amx"};

enum cask_status cask_isa_detect(enum cask_isa *isa, struct cask_error *err)
{
    const char *limit = getenv("CASK_CPU_ISA");
    *isa = isa_of_cpu();
    if (limit == NULL || limit[0] == '\0') {
        return CASK_OK;
    }
    for (int level = CASK_ISA_SCALAR; level <= CASK_ISA_AMX; level++) {
        if (strcmp(limit, level_names[level]) == 0) {
            *isa = (enum cask_isa)level < *isa ? (enum cask_isa)level : *isa;
            return CASK_OK;
        }
    }
    return cask_error_set(err, CASK_ERR_USAGE,
                          "CASK_CPU_ISA: expected ref, avx2, avx512 or amx, found \"%s\"", limit);
}

bool cask_isa_has_bf16(enum cask_isa isa)
{
    return isa >= CASK_ISA_AVX512 && __builtin_cpu_supports("avx512bf16");
}

const struct cask_cpu_kernels *cask_isa_kernels(enum cask_isa isa, enum cask_dtype dtype)
{
    bool half = dtype == CASK_BF16;
    if (half && isa >= CASK_ISA_AVX512 && !cask_isa_has_bf16(isa)) {
        isa = CASK_ISA_AVX2; /* those for AVX-512 want its bf16 instructions */
    }
    switch (isa) {
    case CASK_ISA_SCALAR:
        return half ? &cask_kernels_bf16_scalar : &cask_kernels_f32_scalar;
    case CASK_ISA_AVX2:
        return half ? &cask_kernels_bf16_avx2 : &cask_kernels_f32_avx2;
    default:
        return half ? &cask_kernels_bf16_avx512 : &cask_kernels_f32_avx512;
    }
}

const char *cask_cpu_isa(void)
{
    struct cask_error err;
    enum cask_isa isa;
    if (cask_isa_detect(&isa, &err) != CASK_OK) {
        isa = isa_of_cpu();
    }
    return isa == CASK_ISA_SCALAR ? "scalar" : isa == CASK_ISA_AVX2 ? "avx2" : "avx512";
}
