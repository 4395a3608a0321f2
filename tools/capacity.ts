import { kernelMaps, measureHosts, memoryTable, seriesTable } from './capacity-table.ts';

const measured = await measureHosts();
const maps = await kernelMaps();
console.log(seriesTable(measured));
for (const { title, gzipped, readMs, scrapeMs } of measured) {
  const times = `read in ${readMs.toFixed(1)} ms, scraped in ${scrapeMs.toFixed(1)} ms`;
  console.log(`${title}: ${times}, ${Math.round(gzipped / 1000)} kB with gzip`);
}
const perCpu = maps.filter(({ perCpu }) => perCpu).length;
console.log(
  `\n${perCpu} maps of counters with a value for each CPU, ${maps.length - perCpu} maps of calls in progress\n`,
);
process.stdout.write(memoryTable(maps));
