"""Frame rate and sample rate of all data (EVP supplement, EAMM's release: 25 fps, 16 kHz)."""

FRAME_RATE = 25  # pictures a second; data_prep brings every video to it
SAMPLE_RATE = 16_000  # samples a second, mono; every sound is read at this rate
SAMPLES_PER_FRAME = SAMPLE_RATE // FRAME_RATE  # 640
