// Package media is the content repository: what people upload, and how it is handed out.
//
// What an item is (type, name, size, who uploaded it) stands in the house's database. The
// content lies in files of its own, cut into chunks, once for all items that have the same
// SHA-256. Uploads and downloads go chunk by chunk, so that neither holds up the house's
// writer nor needs memory for the whole. The files have a largest size and are opened on
// demand, a few at once (see volumes): a 32-bit process cannot map more.
//
// It also keeps what it makes itself of contents (thumbnails) and of web pages (previews),
// and throws that away again (see Retention); what people upload stays.
//
// Invariants:
//   - The content is on disk before the row that leads to it: a crash at any point leaves
//     no item without content. It may leave content without a row, which Repair removes.
//   - A content's count of references is the number of items and thumbnails that lead to
//     it; usage is what they add up to.
//   - While Hold is in force, no content is removed.
//   - Nothing is served in a way that a browser would run it (see Headers).
package media
