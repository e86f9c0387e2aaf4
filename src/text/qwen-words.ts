/**
 * How Qwen2's tokenizer, and every later one up to Qwen3, cuts text into words: the regular
 * expression of its tokenizer.json, which GGUF files only name.
 */
export const qwen2Words =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
