/** The moment, once a second, for countdowns and "4 s ago". */

class Clock {
  now_s = $state(Date.now() / 1000);

  constructor() {
    setInterval(() => (this.now_s = Date.now() / 1000), 1000);
  }
}

export const time = new Clock();
