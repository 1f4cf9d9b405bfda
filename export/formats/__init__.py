"""Files beside the SavedModel: TFLite, ONNX; smaller embeddings."""
