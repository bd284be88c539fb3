// Start an offline Surfpool, say its URLs as one JSON line, and end when stdin ends.
// Usage: node surfnet.cjs PATH/surfpool-sdk.linux-x64-gnu.node [MILLISECONDS-A-SLOT]
"use strict";
const { Surfnet } = require(process.argv[2]);
const slotTimeMs = Number(process.argv[3] ?? 400);
const surfnet = Surfnet.startWithConfig({ offline: true, blockProductionMode: "clock", slotTimeMs });
process.stdout.write(JSON.stringify({ rpcUrl: surfnet.rpcUrl, wsUrl: surfnet.wsUrl }) + "\n");
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
