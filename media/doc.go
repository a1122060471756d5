// Package media is the content repository: what people upload, and how it is handed out.
//
// What an item is (type, name, size, who uploaded it) stands in the house's database. The
// content lies in a file of its own, cut into chunks, once for all items that have the
// same SHA-256. Uploads and downloads go chunk by chunk, so that neither holds up the
// house's writer nor needs memory for the whole.
//
// Invariants:
//   - The content is on disk before the item that leads to it: a crash at any point
//     leaves no item without content. It may leave content without an item, which
//     Repair removes.
//   - A blob's count of references is the number of items that lead to it.
//   - Nothing is served in a way that a browser would run it (see Disposition).
package media
