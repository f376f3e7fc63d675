// What functions in Node.js load first: names below localhost are this machine's (RFC 6761, 6.3), which not every resolver knows.
// AWS's SDK puts the account's id before the name of the host of a key value store, also of one that is given as a variable.
const dns = require("node:dns");

const lookup = dns.lookup;
dns.lookup = (name, ...rest) => lookup(name.endsWith(".localhost") ? "127.0.0.1" : name, ...rest);
