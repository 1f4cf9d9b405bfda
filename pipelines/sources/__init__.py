"""What a user can name as data: folders of pictures, clips, sounds, tfds, the toy world; as numbered examples."""
