// What the test asked for, and how a script tells what it saw.
export const input = JSON.parse(process.env.INPUT ?? '{}');
export const tell = (seen) => console.log(JSON.stringify(seen));
