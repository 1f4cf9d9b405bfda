"""What an export answers: to encoded pictures, pixels, waveforms; and what it refuses."""
