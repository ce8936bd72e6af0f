"""Figures that papers print, as they print them: to stand beside ours, never to be tuned to."""

# EVP (CVPR 2021), Table 1: MEAD, three speakers, protocol not published.
EVP_TABLE_1: dict[str, dict[str, float]] = {
    "Chen et al. 2019 (paper)": {
        "m_ld": 3.27,
        "m_lvd": 2.09,
        "f_ld": 3.82,
        "f_lvd": 1.71,
        "ssim": 0.60,
        "printed_psnr": 28.55,
        "fid": 67.60,
    },
    "Wang et al. 2020, MEAD (paper)": {
        "m_ld": 2.52,
        "m_lvd": 2.28,
        "f_ld": 3.16,
        "f_lvd": 2.01,
        "ssim": 0.68,
        "printed_psnr": 28.61,
        "fid": 22.52,
    },
    "Song et al. 2020 (paper)": {
        "m_ld": 2.54,
        "m_lvd": 1.99,
        "f_ld": 3.49,
        "f_lvd": 1.76,
        "ssim": 0.64,
        "printed_psnr": 29.11,
        "fid": 36.33,
    },
    "EVP (paper)": {
        "m_ld": 2.45,
        "m_lvd": 1.78,
        "f_ld": 3.01,
        "f_lvd": 1.56,
        "ssim": 0.71,
        "printed_psnr": 29.53,
        "fid": 7.99,
    },
}
