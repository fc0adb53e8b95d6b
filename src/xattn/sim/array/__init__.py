"""The tile array in motion: DMA channels, locks, streams, host memory and cores, from the encoded configuration."""
